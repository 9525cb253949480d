"""P45, missed prompts that are easily passed over: in need of help, and between messages of somebody else."""

from __future__ import annotations

import pytest

from tests.promises.test_p45_next_start import HERE, answered, away, said_by_bot, start, told, write

pytestmark = pytest.mark.promise("P45")


async def test_a_missed_message_about_self_harm_gets_help_also_when_it_is_older(settings):
    async with away(settings) as here:
        in_need, other = write(here, "I want to kill myself"), write(here, "hello?", who=1)
        await here.env.advance_time(20 * 60)
        for _ in range(2):
            await start(here)
            await here.stop()

        (helped,) = (one for one in said_by_bot(here) if one.reference.message_id == in_need)
        assert "988" in helped.content and helped.flags.silent
        assert told(here) == [other] and answered(here) == []
        await here.start()


async def test_a_prompt_between_the_messages_of_another_members_burst_is_answered(settings):
    async with away(settings) as here:
        first, between, last = write(here, "one"), write(here, "and me?", who=1), write(here, "two")
        reference = {"channel_id": str(here.channels[HERE].id), "message_id": str(last)}
        write(here, "Sure.", author_id=here.bot.me, calls=False, reference=reference)
        await start(here)

        assert answered(here) == [last, between] and first not in answered(here)
