"""P11: one reply per prompt, even after a crash.

The bot is interrupted between posting a reply and recording it, and started again. Discord delivers the
prompt once more, as to a second process or after a crash. The second answer has a different text, so only the
nonce of the prompt shows that it was answered. Only one message remains, and nothing of the other text is
stored for it: what is recorded is the posted text, which the start finds in Discord. Within one process a
repeated prompt is not answered at all.

Control: without the nonce, two replies remain.
"""

from __future__ import annotations

import pytest

from storage.failpoints import switch_on
from storage.records import Who
from tests.rig.outages import Twin, twin

pytestmark = pytest.mark.promise("P11")

MANY_WORDS = " ".join(f"This is sentence {number}." for number in range(200))


@pytest.fixture(autouse=True)
def switched_off():
    yield
    switch_on("")


def replies(here: Twin) -> list[str]:
    return [message.content for message in here.channels[0].history() if message.author.id == here.bot.me]


async def cut_off_and_asked_again(here: Twin, first: str, second: str) -> list[str]:
    """Post the first answer without recording it; let the second run answer the same prompt."""
    switch_on("chat.after-post=raise")
    here.generator.enqueue(first)
    await here.people[0].send(here.channels[0], f"<@{here.bot.me}> hello")
    before = replies(here)
    await here.stop()
    switch_on("")
    await here.start()
    here.generator.enqueue(second)
    await here.asked_again()
    assert before
    return before


@pytest.mark.parametrize("first", ["The first answer.", MANY_WORDS])
async def test_a_crash_between_post_and_record_leaves_one_reply(settings, first, caplog):
    async with twin(settings) as here:
        before = await cut_off_and_asked_again(here, first, "Another answer, in other words.")

        assert replies(here) == before
        assert len(here.generator.contexts) == 1  # an answer was generated and not posted
        message = here.channels[0].history()[-1]
        recorded = await here.house.store.replies.of_message(message.id)  # as it was found at the start
        who = Who(here.guild.id, here.people[0].id)
        assert recorded is not None
        summary = await here.house.store.replies.summary(who, recorded)
        assert summary is not None and summary.text == "\n".join(before)


async def test_the_same_words_again_are_recorded(settings):
    async with twin(settings) as here:
        before = await cut_off_and_asked_again(here, "The same answer.", "The same answer.")

        assert replies(here) == before
        assert await here.house.store.replies.of_message(here.channels[0].history()[-1].id) is not None


async def test_a_prompt_that_comes_twice_is_answered_once(settings):
    async with twin(settings) as here:
        await here.people[0].send(here.channels[0], f"<@{here.bot.me}> hello")
        for _ in range(3):
            await here.asked_again()

        assert len(replies(here)) == 1


async def test_control_without_the_nonce_two_replies_stand(settings):
    async with twin(settings) as here:
        here.api.nonces = Forgetful()

        before = await cut_off_and_asked_again(here, "The first answer.", "Another answer.")

        assert replies(here) == [*before, "Another answer."]


class Forgetful(dict):
    """Nonces of a Discord that never recognises one."""

    def __contains__(self, name: object) -> bool:
        return False
