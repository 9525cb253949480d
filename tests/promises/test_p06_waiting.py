"""P6: an act that was given before consent or during a pause is not stored, however long it waits.

A member reacts, rates, chooses, asks for another answer, sends a remark or a wish while the database is busy,
and then agrees, resumes, or forgets and agrees again. The act is written after that. Its time of arrival
decides, also when the host clock was set back meanwhile.

Control: acts without their time of arrival; then they are stored.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from storage.errors import LearningPaused, NoConsent
from storage.members.wishes import Wish
from storage.records import Arrival, Impression, Pick, Picked, Place, Reacted, Remark, Who
from storage.settings import StorageSettings
from storage.store import Store

pytestmark = pytest.mark.promise("P6")

ALICE, BOB = Who(1, 2), Who(1, 3)
MESSAGE = 10
NEW = count(20)
"""Ids of messages that are new."""
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


async def reacts(store: Store, who: Who) -> bool:
    event = Reacted(5, MESSAGE, who, "👍", False, True)
    return (await store.feedback.record_events([event])).n_taken > 0


async def rates(store: Store, who: Who) -> bool:
    reply_id = await store.replies.of_message(MESSAGE)
    assert reply_id is not None
    await store.feedback.record_rating(who, reply_id, 5)
    return True


async def picks(store: Store, who: Who) -> bool:
    await store.preferences.record_pick(who, Pick(Picked.FIRST, "hash-4", b"one", b"two", None))
    return True


async def wants_another(store: Store, who: Who) -> bool:
    """The answers come when the member has decided; the request for the second one came before."""
    first, second = [
        await store.replies.record(replace(BOB, came=None), Place(5, (next(NEW),)), IMPRESSION)
        for _ in range(2)
    ]
    return await store.preferences.record_another(who, first, second)


async def remarks(store: Store, who: Who) -> bool:
    reply_id = await store.replies.of_message(MESSAGE)
    assert reply_id is not None
    await store.remarks.record(who, reply_id, Remark(("wrong",), "words"))
    return True


async def wishes(store: Store, who: Who) -> bool:
    await store.wishes.put(who, Wish(("short",)))
    return True


ACTS = [reacts, rates, picks, wants_another, remarks, wishes]


async def is_stored(store: Store, act, who: Who) -> bool:
    try:
        return await act(store, who)
    except (NoConsent, LearningPaused):
        return False


async def stored_after(
    store: Store, clock: Clock, act, *, known: bool, meanwhile, timed: bool = True
) -> bool:
    """Return whether an act is stored that came before ``meanwhile`` and is written after it."""
    if known:
        await store.consent.record(BOB)
        clock.pass_(1)
    # It came a minute ago by both clocks; the host clock moves on while it waits.
    came = Arrival(clock(), time.monotonic() - 120)
    clock.pass_(1)
    await meanwhile(store, clock)
    clock.pass_(1)
    return await is_stored(store, act, replace(BOB, came=came if timed else None))


def family(*, without: tuple = ()):
    """Every kind of act, before every kind of decision; a wish is a setting, so a pause does not stop it."""
    return pytest.mark.parametrize(
        ("act", "known", "meanwhile"),
        [
            (act, known, meanwhile)
            for act in ACTS
            for known, meanwhile in MEANWHILE
            if meanwhile not in without and (act, meanwhile) != (wishes, pauses_and_resumes)
        ],
    )


@family()
async def test_an_act_that_waited_over_a_decision_is_not_stored(store, clock, act, known, meanwhile):
    assert not await stored_after(store, clock, act, known=known, meanwhile=meanwhile)


@family()
async def test_an_act_that_comes_after_the_decision_is_stored(store, clock, act, known, meanwhile):
    await stored_after(store, clock, act, known=known, meanwhile=meanwhile)
    came = store.feedback.arrival()
    clock.pass_(1)

    assert await is_stored(store, act, replace(BOB, came=came))


@pytest.mark.parametrize("act", [rates, picks, wants_another, remarks])
async def test_an_act_of_a_pause_is_not_stored_once_learning_goes_on(store, clock, act):
    await store.consent.record(BOB)
    await store.pauses.pause(BOB)

    assert not await is_stored(store, act, replace(BOB, came=store.feedback.arrival()))
    assert not await stored_after(store, clock, act, known=True, meanwhile=pauses_and_resumes)


@pytest.mark.parametrize(("sent_s", "stored"), [(-1, False), (1, True)])
async def test_an_act_that_was_overtaken_on_its_way_is_judged_by_discords_time(store, clock, sent_s, stored):
    sent_at = datetime(2030, 1, 1, tzinfo=UTC)  # Discord's clock is years ahead of the host's
    await store.consent.record(replace(BOB, came=store.feedback.arrival(sent_at)))

    came = store.feedback.arrival(sent_at + timedelta(seconds=sent_s))

    assert await is_stored(store, rates, replace(BOB, came=came)) is stored


@pytest.mark.parametrize("last", ["pause", "resume"])
async def test_the_last_press_of_pause_and_resume_decides_in_whatever_order_they_are_written(store, last):
    await store.consent.record(BOB)
    first, second = (replace(BOB, came=store.feedback.arrival()) for _ in range(2))
    earlier = store.pauses.resume if last == "pause" else store.pauses.pause

    await getattr(store.pauses, last)(second)
    await earlier(first)

    assert await store.pauses.is_paused(BOB) is (last == "pause")


async def taken_after_a_clock_set_back(store: Store, clock: Clock, minutes: float = -60) -> bool:
    """Return whether a reaction is taken that comes once the clock was set back after the decision."""
    clock.pass_(minutes)
    who = replace(BOB, came=store.feedback.arrival())
    clock.pass_(1)
    return await reacts(store, who)


@pytest.mark.parametrize(("known", "meanwhile"), MEANWHILE)
@pytest.mark.parametrize("minutes", [-5, -60, -60 * 24 * 365])
async def test_a_clock_set_back_after_the_decision_refuses_nothing(store, clock, known, meanwhile, minutes):
    assert not await stored_after(store, clock, reacts, known=known, meanwhile=meanwhile)

    assert await taken_after_a_clock_set_back(store, clock, minutes)


async def test_a_second_yes_changes_nothing_about_a_clock_set_back(store, clock):
    await store.consent.record(BOB)
    clock.pass_(-60)
    await store.consent.record(BOB)

    assert await taken_after_a_clock_set_back(store, clock)


# A decision that is made after the clock was set back is dated by the trusted time, which did not go back.
@pytest.mark.parametrize(
    ("known", "meanwhile"), [case for case in MEANWHILE if case[1] is not agrees_after_the_clock_was_set_back]
)
async def test_control_a_process_that_does_not_remember_the_decision_refuses(store, clock, known, meanwhile):
    await stored_after(store, clock, reacts, known=known, meanwhile=meanwhile)
    store.feedback._decided._known.clear()

    assert not await taken_after_a_clock_set_back(store, clock)


@family()
async def test_control_an_act_without_its_time_is_stored(store, clock, act, known, meanwhile):
    assert await stored_after(store, clock, act, known=known, meanwhile=meanwhile, timed=False)
