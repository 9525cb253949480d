"""P6: a reaction that was given before consent is not stored, however long it waits for the writer.

A member reacts while the database is busy, and then agrees, resumes, or forgets and agrees again. The event
is written after that. Its time of arrival decides, also when the host clock was set back meanwhile.

Control: events without their time of arrival; then the reactions are stored.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.records import Arrival, Impression, Place, Reacted, Who
from storage.settings import StorageSettings
from storage.store import Store

pytestmark = pytest.mark.promise("P6")

ALICE, BOB = Who(1, 2), Who(1, 3)
MESSAGE = 10
IMPRESSION = Impression(
    candidates=("a", "b"),
    styles=("concise", "detailed"),
    chosen=0,
    scores=(0.5, 0.5),
    prior_scores=(0.5, 0.5),
    propensities=(0.5, 0.5),
    policy="uniform",
    head_version=0,
    feature_id="hash-4",
    features=bytes(16),
)


class Clock:
    """A host clock that tests set."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_(self, minutes: float) -> None:
        self.at += timedelta(minutes=minutes)


async def agrees(store: Store, clock: Clock) -> None:
    await store.consent.record(BOB)


async def pauses_and_resumes(store: Store, clock: Clock) -> None:
    await store.pauses.pause(BOB)
    await store.pauses.resume(BOB)


async def forgets_and_agrees(store: Store, clock: Clock) -> None:
    await store.privacy.forget(BOB.user_id, lambda _: None)
    await store.consent.record(BOB)


async def refuses_and_agrees(store: Store, clock: Clock) -> None:
    await store.privacy.refuse(BOB, lambda _: None)
    await store.consent.record(BOB)


async def agrees_after_the_clock_was_set_back(store: Store, clock: Clock) -> None:
    clock.pass_(-60)
    await store.consent.record(BOB)


MEANWHILE = [
    (False, agrees),
    (False, agrees_after_the_clock_was_set_back),
    (True, pauses_and_resumes),
    (True, forgets_and_agrees),
    (True, refuses_and_agrees),
]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path, clock):
    settings = StorageSettings(data_dir=tmp_path / "data", key_dir=tmp_path / "keys", group_commit_ms=1)
    async with await Store.open(settings, now=clock) as store:
        await store.consent.record(ALICE)
        await store.replies.record(ALICE, Place(5, (MESSAGE,)), IMPRESSION)
        yield store


async def stored_after(store: Store, clock: Clock, known: bool, meanwhile, *, timed: bool = True) -> int:
    """Return how many reactions are taken that came before ``meanwhile`` and are written after it."""
    if known:
        await store.consent.record(BOB)
        clock.pass_(1)
    # It came a minute ago by both clocks; the host clock moves on while it waits.
    came = Arrival(clock(), time.monotonic() - 120)
    clock.pass_(1)
    await meanwhile(store, clock)
    clock.pass_(1)
    waited = Reacted(5, MESSAGE, BOB, "👍", False, True, came if timed else None)
    return (await store.feedback.record_events([waited])).n_taken


@pytest.mark.parametrize(("known", "meanwhile"), MEANWHILE)
async def test_a_reaction_that_waited_over_a_decision_is_not_stored(store, clock, known, meanwhile):
    assert await stored_after(store, clock, known, meanwhile) == 0


@pytest.mark.parametrize(("known", "meanwhile"), MEANWHILE)
async def test_a_reaction_that_comes_after_the_decision_is_stored(store, clock, known, meanwhile):
    await stored_after(store, clock, known, meanwhile)
    came = store.feedback.arrival()
    clock.pass_(1)

    later = replace(Reacted(5, MESSAGE, BOB, "🎉", False, True), came=came)

    assert (await store.feedback.record_events([later])).n_taken == 1


async def taken_after_a_clock_set_back(store: Store, clock: Clock, minutes: float = -60) -> int:
    """Return how many reactions are taken that come once the clock was set back after the decision."""
    clock.pass_(minutes)
    came = store.feedback.arrival()
    clock.pass_(1)
    return (await store.feedback.record_events([Reacted(5, MESSAGE, BOB, "🎉", False, True, came)])).n_taken


@pytest.mark.parametrize(("known", "meanwhile"), MEANWHILE)
@pytest.mark.parametrize("minutes", [-5, -60, -60 * 24 * 365])
async def test_a_clock_set_back_after_the_decision_refuses_nothing(store, clock, known, meanwhile, minutes):
    assert await stored_after(store, clock, known, meanwhile) == 0

    assert await taken_after_a_clock_set_back(store, clock, minutes) == 1


async def test_a_second_yes_changes_nothing_about_a_clock_set_back(store, clock):
    await store.consent.record(BOB)
    clock.pass_(-60)
    await store.consent.record(BOB)

    assert await taken_after_a_clock_set_back(store, clock) == 1


# A decision that is made after the clock was set back is dated by the trusted time, which did not go back.
@pytest.mark.parametrize(
    ("known", "meanwhile"), [case for case in MEANWHILE if case[1] is not agrees_after_the_clock_was_set_back]
)
async def test_control_a_process_that_does_not_remember_the_decision_refuses(store, clock, known, meanwhile):
    await stored_after(store, clock, known, meanwhile)
    store.feedback._decided._known.clear()

    assert await taken_after_a_clock_set_back(store, clock) == 0


@pytest.mark.parametrize(("known", "meanwhile"), MEANWHILE)
async def test_control_an_event_without_its_time_is_stored(store, clock, known, meanwhile):
    assert await stored_after(store, clock, known, meanwhile, timed=False) == 1
