"""Batches of Discord's events: same result as single events in order; observations; members without a key."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from storage.records import Cleared, Deleted, Observed, Reacted, Who
from storage.store import Store
from tests.fakes import FixedClock
from tests.unit.storage.given import (
    ALICE,
    BOB,
    CAROL,
    CHANNEL,
    FIRST,
    GUILD,
    SECOND,
    due,
    posted,
    round_of,
    settings_in,
    standing,
)

OTHER = FIRST + 100
PEOPLE = (ALICE, BOB, CAROL)


def reacted(who, message_id, emoji="👍", *, burst=False, added=True) -> Reacted:
    return Reacted(CHANNEL, message_id, who, emoji, burst, added)


@pytest.fixture
async def replies(store):
    """A reply in two chunks and one in one, both to Alice; Bob and Carol agreed before."""
    for who in (BOB, CAROL):
        await store.consent.record(who)
    return [await posted(store, ALICE, FIRST, SECOND), await posted(store, ALICE, OTHER)]


def some_event(rng: random.Random):
    message = rng.choice((FIRST, SECOND, OTHER, 99))
    emoji = rng.choice(("👍", "👎", ":77"))
    match rng.randrange(12):
        case 0:
            return Cleared(CHANNEL, message)
        case 1:
            return Cleared(CHANNEL, message, emoji)
        case 2:
            return Observed(
                CHANNEL, message, GUILD, {(emoji, False): frozenset({rng.choice(PEOPLE).user_id})}
            )
        case _:
            return reacted(
                rng.choice(PEOPLE), message, emoji, burst=rng.random() < 0.3, added=rng.random() < 0.6
            )


@pytest.mark.sqlite_only("how SQLite finds the rows")
async def test_the_rows_of_a_batch_are_found_by_their_keys(settings, store, replies):
    asked = []

    @event.listens_for(Engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, _context, _many):
        if statement.startswith(("SELECT", "WITH")) and "feedback" in statement:
            asked.append((statement, parameters))

    try:
        await store.feedback.record_events([reacted(who, FIRST) for who in PEOPLE])
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    with closing(sqlite3.connect(settings.data_dir / "data.db")) as database, database:
        plans = [database.execute(f"EXPLAIN QUERY PLAN {said}", values).fetchall() for said, values in asked]
    assert plans
    for step in (row[3] for plan in plans for row in plan):
        assert not step.startswith(("SCAN feedback", "SCAN members")), step


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
async def test_a_batch_ends_as_one_by_one(tmp_path, seed):
    rng = random.Random(seed)
    events = [some_event(rng) for _ in range(120)]
    events += [Deleted(CHANNEL, FIRST), *(some_event(rng) for _ in range(20))]
    found = []

    for name, size in (("single", 1), ("batch", 40), ("all", len(events))):
        async with await Store.open(settings_in(tmp_path / name), now=FixedClock()) as store:
            for who in PEOPLE:
                await store.consent.record(who)
            await posted(store, ALICE, FIRST, SECOND)
            await posted(store, ALICE, OTHER)
            for start in range(0, len(events), size):
                await store.feedback.record_events(events[start : start + size])
            replies = [await store.replies.of_message(message) for message in (FIRST, SECOND, OTHER)]
            kept = [await standing(store, who) for who in PEOPLE]
            found.append([[mine.get(reply) for reply in replies] for mine in kept])

    assert found[0] == found[1] == found[2]


async def test_a_batch_tells_what_came_of_it(store, replies):
    applied = await store.feedback.record_events(
        [
            reacted(BOB, FIRST),
            reacted(BOB, OTHER),
            reacted(CAROL, FIRST),
            reacted(CAROL, FIRST, added=False),
            reacted(Who(GUILD, 1), FIRST),
            reacted(BOB, 99),
        ]
    )

    assert (applied.n_taken, applied.n_changes, applied.n_unreadable) == (4, 2, 0)
    assert applied.members == {store.member_id(BOB)}
    assert await due(store) == [BOB]


async def test_a_member_of_another_server_has_no_say(store, replies):
    stranger = Who(GUILD + 1, BOB.user_id)
    await store.consent.record(stranger)

    applied = await store.feedback.record_events([reacted(stranger, FIRST)])

    assert applied.n_taken == 0
    assert await standing(store, stranger) == {}


async def test_a_finding_is_what_stands(store, replies):
    first, _ = replies
    await store.feedback.record_events(
        [reacted(BOB, FIRST, "👎"), reacted(BOB, SECOND, "🎉"), reacted(CAROL, FIRST, "👍", burst=True)]
    )
    await store.feedback.record_rating(BOB, first, 4)
    await round_of(store)

    applied = await store.feedback.record_events(
        [Observed(CHANNEL, FIRST, GUILD, {("👍", False): frozenset({BOB.user_id, 1})})]
    )

    assert await standing(store, BOB) == {first: (("🎉", "👍"), 4)}
    assert await standing(store, CAROL) == {}
    assert applied.n_changes == 2
    assert set(await due(store)) == {BOB, CAROL}


async def test_what_was_not_asked_about_stays(store, replies):
    first, _ = replies
    await store.feedback.record_events([reacted(BOB, FIRST, "👎"), reacted(BOB, FIRST, "🎉")])

    await store.feedback.record_events([Observed(CHANNEL, FIRST, GUILD, {}, frozenset({("👎", False)}))])

    assert await standing(store, BOB) == {first: (("👎",), None)}


async def test_what_stood_before_a_member_agreed_is_not_read_back(store, replies, clock):
    late = Who(GUILD, 820_000_000_000_000_009)
    clock.advance(minutes=1)
    await store.consent.record(late)
    newer = await posted(store, ALICE, FIRST + 200)

    for message in (FIRST, FIRST + 200):
        await store.feedback.record_events(
            [Observed(CHANNEL, message, GUILD, {("👍", False): frozenset({late.user_id})})]
        )

    assert await standing(store, late) == {newer: (("👍",), None)}


@pytest.mark.parametrize("happens", ["react", "clear", "observe", "delete"])
async def test_a_member_whose_key_is_lost_does_not_stop_the_others(store, replies, happens, caplog):
    first, _ = replies
    await store.feedback.record_events([reacted(BOB, FIRST), reacted(CAROL, FIRST), reacted(CAROL, OTHER)])
    member = store.member_id(BOB)
    await store._writer.submit(lambda _: store._keys.destroy([*store._keys.key_ids_of([member]).values()]))
    events = {
        "react": [reacted(BOB, FIRST, added=False), reacted(CAROL, FIRST, added=False)],
        "clear": [Cleared(CHANNEL, FIRST)],
        "observe": [Observed(CHANNEL, FIRST, GUILD, {})],
        "delete": [Deleted(CHANNEL, FIRST)],
    }

    applied = await store.feedback.record_events(events[happens])

    assert first not in await standing(store, CAROL)
    assert applied.n_unreadable == 1
    assert "1 row of feedback left unchanged: a key is missing" in caplog.text
