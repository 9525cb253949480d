"""P18: the next reply follows the reaction that the member has just given.

A reaction starts a round about a second later, although the interval between rounds is a day. The member's
next message is then ranked by the head of that round. The test compares the order of events, not the clock.

Control: with a scheduler that plans no early round, the next message is still ranked by the prior.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from bot.background.scheduler import EARLY_S, LearningScheduler
from bot.generation import Context
from bot.reactions.inbox import Inbox
from bot.replies.decision import Prompt
from storage.records import Place, Reacted, Who
from tests.promises.test_p18_schedule import ALICE, a_house

pytestmark = pytest.mark.promise("P18")

CHANNEL, MESSAGE = 1, 2
WAIT_S = 4.0
"""Seconds that the control waits for a round: more than the promised three."""


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as found:
        yield found


async def versions_around_a_thumb(folder, executor, *, at_most_s: float) -> list[int]:
    """Return the version of the head that ranks a first message, and the one that ranks the next."""
    async with a_house(folder, executor) as house:
        store, responder = house.store, house.parts.responder
        house.scheduler.start()
        while await store.learning.latest_round() is None and not house.scheduler._rested_at > 0:
            await asyncio.sleep(0.02)  # every work runs soon after the start
        await store.consent.record(ALICE)
        first = await responder.decide(Prompt(ALICE, Context("hello")))
        await store.replies.record(ALICE, Place(CHANNEL, (MESSAGE,)), first.impression)
        inbox = Inbox(store.feedback.record_events, house.parts.labels_changed)

        inbox.put(Reacted(CHANNEL, MESSAGE, Who(ALICE.guild_id, ALICE.user_id), "👍", False, True))
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                while await store.learning.head_of(store.member_id(ALICE)) is None:
                    await asyncio.sleep(0.02)

        second = await responder.decide(Prompt(ALICE, Context("and now?")))
        return [first.impression.head_version, second.impression.head_version]


async def test_the_next_message_after_a_thumb_is_ranked_by_it(tmp_path, executor):
    assert EARLY_S <= 3.0
    assert await versions_around_a_thumb(tmp_path, executor, at_most_s=60.0) == [0, 1]


async def test_control_without_an_early_round_the_prior_ranks_the_next_message(
    tmp_path, executor, monkeypatch
):
    monkeypatch.setattr(LearningScheduler, "plan_early", lambda self, wait_s=0.0: None)

    assert await versions_around_a_thumb(tmp_path, executor, at_most_s=WAIT_S) == [0, 0]
