"""The inbox: in order, bounded, batched; what does not fit or fails is marked, never lost in silence."""

from __future__ import annotations

import asyncio

from bot.reactions.inbox import BATCH, WATCHED_LIMIT, Inbox, Marks
from storage.errors import DatabaseFailed
from storage.records import Applied, Deleted, Observed, Reacted, Who


class Records:
    """Takes batches as the store does, and fails when told to."""

    def __init__(self) -> None:
        self.batches: list[list[object]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: list[Exception] = []
        self.poison: object = None

    @property
    def events(self) -> list[object]:
        return [event for batch in self.batches for event in batch]

    async def __call__(self, events):
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop()
        if self.poison in events:
            raise ValueError("cannot be applied")
        self.batches.append(list(events))
        return Applied(n_taken=len(events), n_changes=len(events))


def reacted(number: int, channel: int = 1, user: int = 7) -> Reacted:
    return Reacted(channel, number, Who(1, user), "👍", False, True)


def inbox_for(records: Records, **options) -> tuple[Inbox, list[int]]:
    changes: list[int] = []
    return Inbox(records, changes.append, **options), changes


async def test_events_are_written_in_order_in_batches():
    records = Records()
    inbox, changes = inbox_for(records)
    events = [reacted(number) for number in range(BATCH + 50)]

    for event in events:
        inbox.put(event)
    await inbox.wait_idle()

    assert [len(batch) for batch in records.batches] == [BATCH, 50]
    assert records.events == events
    assert (sum(changes), inbox.n_recorded, len(inbox)) == (BATCH + 50, BATCH + 50, 0)


async def test_what_does_not_fit_is_marked():
    records = Records()
    inbox, _ = inbox_for(records, limit=3)
    missed = []
    inbox.missed = lambda: missed.append(1)

    for number in range(5):
        inbox.put(reacted(number))
    await inbox.wait_idle()

    assert records.events == [reacted(number) for number in range(3)]
    assert inbox.marks.take() == (False, [(1, 3), (1, 4)])
    assert len(missed) == 2
    assert not inbox.marks


async def test_what_the_store_refuses_is_marked_and_the_rest_goes_on(caplog):
    records = Records()
    records.failures.append(DatabaseFailed())
    inbox, _ = inbox_for(records)

    inbox.put(reacted(1))
    await inbox.wait_idle()
    inbox.put(reacted(2))
    await inbox.wait_idle()

    assert records.events == [reacted(2)]
    assert inbox.marks.take() == (False, [(1, 1)])
    assert "1 event was not written (DatabaseFailed)" in caplog.text


async def test_an_event_that_breaks_its_batch_is_left_out_alone(caplog):
    records = Records()
    records.poison = reacted(4)
    inbox, _ = inbox_for(records)

    for number in range(10):
        inbox.put(reacted(number))
    await inbox.wait_idle()

    assert records.events == [reacted(number) for number in range(10) if number != 4]
    assert "an event could not be applied" in caplog.text


async def test_a_channel_is_held_while_a_reply_is_posted_and_others_go_on():
    records = Records()
    inbox, _ = inbox_for(records)

    with inbox.held(1):
        for number in range(4):
            inbox.put(reacted(number, channel=number % 2))
        await inbox.wait_idle()
        meanwhile = list(records.events)
    inbox.put(reacted(5, channel=1))
    await inbox.wait_idle()

    assert meanwhile == [reacted(0, channel=0), reacted(2, channel=0)]
    assert records.events[2:] == [reacted(1), reacted(3), reacted(5)]


async def test_a_finding_is_followed_by_what_happened_since_the_look_began():
    records = Records()
    inbox, _ = inbox_for(records)
    finding = Observed(1, 10, 1, {})

    inbox.put(reacted(10))
    with inbox.watched([10]) as found:
        inbox.put(reacted(10, user=8))
        inbox.put(reacted(11))
        found(finding)
    inbox.put(Deleted(1, 10))
    await inbox.wait_idle()

    live = [reacted(10), reacted(10, user=8), reacted(11)]
    assert records.events == [*live, finding, reacted(10, user=8), Deleted(1, 10)]


async def test_what_waits_of_a_forgotten_member_is_dropped():
    records = Records()
    records.gate.clear()
    inbox, _ = inbox_for(records)

    with inbox.held(2):
        for number, channel in ((1, 1), (2, 2)):
            inbox.put(reacted(number, channel=channel, user=7))
            inbox.put(reacted(number, channel=channel, user=8))
        inbox.drop(7)
    records.gate.set()
    await inbox.wait_idle()

    assert records.events == [reacted(1, user=8), reacted(2, channel=2, user=8)]


async def test_a_finding_that_missed_events_is_read_back_again_also_after_a_forget():
    records = Records()
    inbox, _ = inbox_for(records)
    finding = Observed(1, 10, 1, {})

    with inbox.watched([10]) as found:
        for number in range(WATCHED_LIMIT + 1):
            inbox.put(reacted(10, user=7 if number == 0 else 8))
        inbox.drop(7)
        found(finding)
    await inbox.wait_idle()

    assert finding not in records.events
    assert inbox.marks.take() == (False, [(1, 10)])


async def test_draining_gives_up_after_its_time(caplog):
    records = Records()
    records.gate.clear()
    inbox, _ = inbox_for(records)
    for number in range(BATCH + 1):
        inbox.put(reacted(number))

    await inbox.drain(0.01)

    assert f"{BATCH + 1} events were not written within 0.01 s" in caplog.text  # with the batch under way
    records.gate.set()
    await inbox.wait_idle()


def test_too_many_marks_become_one_for_everything():
    marks = Marks(limit=2)
    for number in (1, 1, 2):
        marks.add(9, number)
    some = bool(marks), marks.all
    marks.add(9, 3)

    assert some == (True, False)
    assert marks.take() == (True, [])
    assert not marks
