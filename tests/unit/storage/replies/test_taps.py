"""Choices of the six taps: a new one replaces the earlier one about its pair, and its undo puts that back."""

from __future__ import annotations

import random

import pytest

from storage.records import Pick, Picked
from storage.replies import preferences
from storage.replies.choice_rows import delete_choices
from tests.rig.size import sized
from tests.unit.storage.given import ALICE, due, round_of

PAIRS = ("length-1", "lively-2", "words-3")
ANSWERS = (Picked.FIRST, Picked.SECOND, Picked.EQUAL)


def pick(picked: Picked) -> Pick:
    return Pick(picked, "hash-4", b"one!", b"two!")


async def kept(store) -> dict[str, tuple[Picked, Picked | None]]:
    """Return what was picked about each pair, and what before."""
    member_id = store.member_id(ALICE)
    rows = (await store.preferences.of([member_id], 100))[member_id]
    assert len({row.tap for row in rows}) == len(rows)
    return {row.tap: (row.picked, row.earlier) for row in rows}


async def replace_and_undo(store) -> None:
    """Answer a pair in two rows, and undo the second answer."""
    await store.consent.record(ALICE)
    await store.taps.record(ALICE, PAIRS[0], pick(Picked.FIRST), since=0)
    before = await store.taps.of(ALICE), await times(store)
    since = await store.taps.latest(ALICE)
    await store.taps.record(ALICE, PAIRS[0], pick(Picked.SECOND), since=since)
    replaced = await kept(store)

    assert await store.taps.undo(ALICE, PAIRS, since=since) == 1

    assert replaced[PAIRS[0]][0] is Picked.SECOND
    assert await kept(store) == {PAIRS[0]: (Picked.FIRST, None)}
    assert (await store.taps.of(ALICE), await times(store)) == before


async def times(store) -> list:
    member_id = store.member_id(ALICE)
    return [row.told_at for row in (await store.preferences.of([member_id], 100))[member_id]]


async def test_the_undo_of_a_replaced_answer_puts_it_back_with_its_number_and_time(store) -> None:
    await replace_and_undo(store)
    await round_of(store)
    (number,) = (await store.taps.of(ALICE)).values()

    assert await store.taps.undo(ALICE, PAIRS, since=number) == 0  # it is of an earlier row
    assert await due(store) == []
    assert await store.preferences.undo(ALICE, number) is True
    assert (await kept(store), await due(store)) == ({}, [ALICE])


async def test_control_without_what_was_replaced_an_undo_loses_the_earlier_answer(store, monkeypatch) -> None:
    def deleted(connection, _, member_id, preference_id) -> None:
        delete_choices(connection, member_id, preference_id)

    monkeypatch.setattr(preferences, "replaced", deleted)

    with pytest.raises(AssertionError):
        await replace_and_undo(store)


async def test_rows_of_taps_and_undos_leave_what_a_plain_record_of_them_leaves(store) -> None:
    """A pair holds its answer and the one before, after answers and undos in any order."""
    rng = random.Random(13)
    await store.consent.record(ALICE)
    known: dict[str, list[tuple[int, Picked]]] = {pair: [] for pair in PAIRS}  # number and answer
    since = 0
    for _ in range(sized(ci=60, full=1000)):
        pair, picked = rng.choice(PAIRS), rng.choice(ANSWERS)
        newest = known[pair][-1][0] if known[pair] else 0
        match rng.choice(("answer", "answer", "row", "undo", "feedback")):
            case "answer":
                recorded = await store.taps.record(ALICE, pair, pick(picked), since=since)
                assert recorded is (newest <= since)
                if recorded:
                    known[pair] = [*known[pair][-1:], (await store.taps.latest(ALICE), picked)]
            case "row":
                since = await store.taps.latest(ALICE)
            case "undo":
                undone = await store.taps.undo(ALICE, [pair], since=since)
                assert undone == (newest > since)
                known[pair] = known[pair][: len(known[pair]) - undone]
            case _:
                if newest:
                    assert await store.preferences.undo(ALICE, newest)
                    known[pair].pop()
        assert await kept(store) == {
            tap: (answers[-1][1], answers[-2][1] if len(answers) > 1 else None)
            for tap, answers in known.items()
            if answers
        }


async def test_an_ended_row_takes_back_nothing_of_a_later_one(store) -> None:
    await store.consent.record(ALICE)
    await store.taps.record(ALICE, PAIRS[0], pick(Picked.FIRST), since=0)
    until = await store.taps.latest(ALICE)
    await store.taps.record(ALICE, PAIRS[1], pick(Picked.FIRST), since=until)

    assert await store.taps.undo(ALICE, PAIRS, since=0, until=until) == 1
    assert await kept(store) == {PAIRS[1]: (Picked.FIRST, None)}


async def test_what_was_replaced_goes_with_the_choice_on_starting_over_and_withdrawing(store) -> None:
    for leave in (store.learning.start_over, store.privacy.refuse):
        await replace_and_undo(store)
        since = await store.taps.latest(ALICE)
        await store.taps.record(ALICE, PAIRS[0], pick(Picked.SECOND), since=since)
        await leave(ALICE)
        await store.consent.record(ALICE)

        assert await store.taps.undo(ALICE, PAIRS, since=0) == 0
        assert await kept(store) == {}
