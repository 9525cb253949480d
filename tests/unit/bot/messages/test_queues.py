"""Conversations answer in order, independently, within bounds; claims are given once."""

from __future__ import annotations

import asyncio

from bot.messages.queues import Claims, ConversationQueues
from tests.rig.waiting import until


class Recorder:
    """Jobs that note when they run and wait until the test releases them."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.gate = asyncio.Event()

    def job(self, name: str):
        async def run() -> None:
            await self.gate.wait()
            self.ran.append(name)

        return run


async def test_jobs_of_one_conversation_run_in_order():
    queues, recorder = ConversationQueues(limit=10), Recorder()
    for name in "abc":
        queues.submit("room", 1, recorder.job(name))

    recorder.gate.set()
    await queues.wait_idle()

    assert recorder.ran == ["a", "b", "c"]


async def test_conversations_do_not_wait_for_one_another():
    queues, slow, quick = ConversationQueues(limit=10), Recorder(), Recorder()
    quick.gate.set()
    queues.submit("slow", 1, slow.job("slow"))
    queues.submit("quick", 1, quick.job("quick"))

    await until(lambda: quick.ran)

    assert (slow.ran, quick.ran) == ([], ["quick"])
    slow.gate.set()
    await queues.wait_idle()


async def test_a_full_conversation_declines():
    queues, recorder = ConversationQueues(limit=2), Recorder()

    queues.submit("room", 1, recorder.job("running"))
    await asyncio.sleep(0)
    accepted = [queues.submit("room", n, recorder.job(name)) for n, name in enumerate("abc")]

    assert accepted == [True, True, False]
    recorder.gate.set()
    await queues.wait_idle()
    assert recorder.ran == ["running", "a", "b"]


async def test_dropping_a_member_takes_only_their_waiting_jobs():
    queues, recorder = ConversationQueues(limit=10), Recorder()
    queues.submit("room", 1, recorder.job("running"))
    await asyncio.sleep(0)
    queues.submit("room", 1, recorder.job("theirs"))
    queues.submit("room", 2, recorder.job("another's"))

    dropped = queues.drop(1)
    recorder.gate.set()
    await queues.wait_idle()

    assert (dropped, recorder.ran) == (1, ["running", "another's"])


async def test_a_failing_job_does_not_stop_the_conversation(caplog):
    queues, recorder = ConversationQueues(limit=10), Recorder()
    recorder.gate.set()

    async def fail() -> None:
        raise ValueError("broken")

    queues.submit("room", 1, fail)
    queues.submit("room", 1, recorder.job("next"))
    await queues.wait_idle()

    assert recorder.ran == ["next"]
    assert "an answer failed" in caplog.text


async def test_draining_finishes_what_waits_and_refuses_the_rest():
    queues, recorder = ConversationQueues(limit=10), Recorder()
    recorder.gate.set()
    queues.submit("room", 1, recorder.job("a"))
    queues.submit("room", 1, recorder.job("b"))

    await queues.drain(timeout_s=60)

    assert recorder.ran == ["a", "b"]
    assert queues.submit("room", 1, recorder.job("late")) is False


async def test_draining_gives_up_after_its_time(caplog):
    queues, recorder = ConversationQueues(limit=10), Recorder()
    queues.submit("room", 1, recorder.job("stuck"))

    await queues.drain(timeout_s=0.01)

    assert "still busy" in caplog.text
    recorder.gate.set()
    await queues.wait_idle()


def test_a_claim_is_given_once_and_old_ones_are_forgotten():
    claims = Claims(size=2)

    given = [claims.claim(key) for key in (1, 1, 2, 3, 1)]

    assert given == [True, False, True, True, True]


async def test_one_member_leaves_most_of_the_room_to_the_others():
    queues, recorder = ConversationQueues(limit=8), Recorder()
    queues.submit("room", 1, recorder.job("running"))

    hers = [queues.submit("room", 1, recorder.job("hers")) for _ in range(3)]
    his = [queues.submit("room", 2, recorder.job("his")) for _ in range(3)]

    assert (hers, his) == ([True, True, False], [True, True, False])
    assert len(queues) == 4
    recorder.gate.set()
    await queues.wait_idle()


async def test_the_newest_unfinished_job_of_a_member_is_known():
    queues, recorder = ConversationQueues(limit=4), Recorder()
    for owner, about in ((1, "running"), (2, "his"), (1, "newest")):
        queues.submit("room", owner, recorder.job(about), about)

    found = [queues.latest_of("room", owner) for owner in (1, 2, 3)]
    queues.drop(1)

    assert found == ["newest", "his", None]
    assert queues.latest_of("room", 1) == "running"
    recorder.gate.set()
    await queues.wait_idle()
    assert queues.latest_of("room", 1) is None
