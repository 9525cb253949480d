"""Choices of the six taps: a new one replaces the earlier one about its pair, and its undo puts that back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import select

from storage.database.schema import preferences
from storage.records import Pick, Picked
from storage.replies import preferences as recording
from storage.replies import taps
from storage.replies.choice_rows import delete_choices, replaced, slot
from tests.rig.size import sized
from tests.unit.storage.given import ALICE, due, round_of

PAIRS = ("length-1", "lively-2", "words-3")
STEPS = (*["answer"] * 4, *["open"] * 2, "undo", "undo all", "feedback")
ANSWERS = (Picked.FIRST, Picked.SECOND, Picked.EQUAL)


TEXTS = (b"one!", b"uno!")
"""Features of the first text of a pair, in two languages."""


def pick(picked: Picked, texts: bytes = TEXTS[0]) -> Pick:
    return Pick(picked, "hash-4", texts, b"two!")


async def kept(store) -> dict[str, tuple[Picked, Picked | None]]:
    """Return what was picked about each pair, and what before."""
    member_id = store.member_id(ALICE)
    rows = (await store.preferences.of([member_id], 100))[member_id]
    assert len({row.tap for row in rows}) == len(rows)
    return {row.tap: (row.picked, row.earlier) for row in rows}


async def replace_and_undo(store) -> None:
    """Answer a pair in two rows, and undo the second answer."""
    await store.consent.record(ALICE)
    await store.taps.record(ALICE, PAIRS[0], pick(Picked.FIRST), since=await store.taps.begin())
    before = await store.taps.of(ALICE), await times(store)
    since = await store.taps.begin()
    await store.taps.record(ALICE, PAIRS[0], pick(Picked.SECOND), since=since)
    replaced = await kept(store)

    assert await store.taps.undo(ALICE, PAIRS, since=since) == (1, True)

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

    assert await store.taps.undo(ALICE, PAIRS, since=await store.taps.begin()) == (0, False)
    assert await due(store) == []
    assert await store.preferences.undo(ALICE, number) is True
    assert (await kept(store), await due(store)) == ({}, [ALICE])


async def test_control_without_what_was_replaced_an_undo_loses_the_earlier_answer(store, monkeypatch) -> None:
    def deleted(connection, _, member_id, preference_id, **__) -> None:
        delete_choices(connection, member_id, preference_id)

    monkeypatch.setattr(recording, "replaced", deleted)

    with pytest.raises(AssertionError):
        await replace_and_undo(store)


@dataclass(frozen=True)
class Answer:
    """An answer in the plain record."""

    number: int
    picked: Picked
    row: int
    texts: bytes


class Walk:
    """Open pages of the six taps, answers and undos in any order, beside a plain record of them.

    The record has numbers of its own. A pair holds its answer and, where it was about the same texts, the one
    before.
    """

    def __init__(self, store, seed: int) -> None:
        self.store, self.rng = store, random.Random(seed)
        self.known: dict[str, list[Answer]] = {pair: [] for pair in PAIRS}
        self.pages: list[tuple[int, int]] = []  # number in the record, number in the store
        self.undone: set[Answer] = set()
        self.n_again = self.n_dropped = 0
        self.n = 0

    def next(self) -> int:
        self.n += 1
        return self.n

    async def step(self) -> None:
        """Take one step, and compare store and record."""
        pair, page = self.rng.choice(PAIRS), self.rng.choice(self.pages[-3:] or [None])
        match self.rng.choice(STEPS):
            case "open":
                self.pages.append((self.next(), await self.store.taps.begin()))
            case "answer" if page is not None:
                await self.answer(page, pair)
            case "undo" if page is not None:
                await self.undo(page, [pair])
            case "undo all" if page is not None:
                await self.undo(page, PAIRS)
            case "feedback" if self.known[pair]:
                self.undone.add(self.known[pair].pop())
                assert await self.store.preferences.undo(ALICE, (await self.store.taps.of(ALICE))[pair])
        await self.compare()

    async def answer(self, page: tuple[int, int], pair: str) -> None:
        own = Answer(self.next(), self.rng.choice(ANSWERS), page[0], self.rng.choice((*TEXTS, TEXTS[0])))
        before = self.known[pair][-1:]
        free = not before or before[0].number < page[0]
        stored = await self.store.taps.record(ALICE, pair, pick(own.picked, own.texts), since=page[1])
        assert stored is free
        if free:
            self.known[pair] = [*(one for one in before if one.texts == own.texts), own]

    async def undo(self, page: tuple[int, int], pairs: Sequence[str]) -> None:
        current = [pair for pair in pairs if self.known[pair] and self.known[pair][-1].row == page[0]]
        for pair in pairs:
            drop = self.known[pair][-1:] if pair in current else self.known[pair][:-1]
            gone = [one for one in drop if one.row == page[0]]
            self.known[pair] = [one for one in self.known[pair] if one not in gone]
            self.undone |= set(gone)
            self.n_dropped += bool(gone) and pair not in current
        said = await self.store.taps.undo(ALICE, pairs, since=page[1])
        again = any(self.known[pair] for pair in current)
        self.n_again += again
        assert said == (len(current), again)

    async def compare(self) -> None:
        """Check what counts, what an undo would bring back, and which answers each page takes as its own."""
        counts = {pair: answers[-1] for pair, answers in self.known.items() if answers}
        assert not set(counts.values()) & self.undone
        assert await kept(self.store) == {
            pair: (answers[-1].picked, answers[-2].picked if len(answers) > 1 else None)
            for pair, answers in self.known.items()
            if answers
        }
        rows = await self.store.preferences.of([self.store.member_id(ALICE)], 100)
        about = {row.tap: row.first for row in rows[self.store.member_id(ALICE)]}
        assert about == {pair: one.texts for pair, one in counts.items()}
        for number, since in self.pages[-3:]:
            own = {pair: one.picked for pair, one in counts.items() if one.row == number}
            assert await self.store.taps.of_row(ALICE, since) == own


async def walk(store) -> None:
    """Walk at random: a page opens, answers or undoes while others are open."""
    await store.consent.record(ALICE)
    one = Walk(store, 59)
    for _ in range(sized(ci=80, full=2000)):
        await one.step()
    assert one.undone
    assert one.n_again
    assert one.n_dropped


async def test_pages_that_are_open_together_leave_what_a_plain_record_of_them_leaves(store) -> None:
    await walk(store)


def kept_whatever_the_texts(connection, keys, member_id, number, **_):
    row = connection.execute(select(preferences).where(preferences.c.preference_id == number)).one()
    features = keys.key_of(member_id).open(row.features, slot("features", number, member_id))
    return replaced(connection, keys, member_id, number, feature_id=row.feature_id, features=features)


async def one_number_for_all(_) -> int:
    return 0


@pytest.mark.parametrize(
    ("module", "name", "without"),
    [
        (taps.Taps, "begin", one_number_for_all),
        (taps, "drop_replaced", lambda *_: None),
        (recording, "replaced", kept_whatever_the_texts),
    ],
)
async def test_control_without_a_safeguard_the_walk_ends_elsewhere(store, monkeypatch, module, name, without):
    monkeypatch.setattr(module, name, without)

    with pytest.raises(AssertionError):
        await walk(store)


async def test_what_an_ended_row_undid_does_not_come_back_when_a_later_row_is_undone(store) -> None:
    await store.consent.record(ALICE)
    ended = await store.taps.begin()
    await store.taps.record(ALICE, PAIRS[0], pick(Picked.FIRST), since=ended)
    later = await store.taps.begin()
    await store.taps.record(ALICE, PAIRS[0], pick(Picked.SECOND), since=later)
    await round_of(store)

    assert await store.taps.undo(ALICE, PAIRS, since=ended) == (0, False)
    assert await due(store) == []  # no label changed
    assert await kept(store) == {PAIRS[0]: (Picked.SECOND, None)}
    assert await store.taps.undo(ALICE, PAIRS, since=later) == (1, False)
    assert await kept(store) == {}


async def test_what_was_replaced_goes_with_the_choice_on_starting_over_and_withdrawing(store) -> None:
    for leave in (store.learning.start_over, store.privacy.refuse):
        await replace_and_undo(store)
        since = await store.taps.begin()
        await store.taps.record(ALICE, PAIRS[0], pick(Picked.SECOND), since=since)
        await leave(ALICE)
        await store.consent.record(ALICE)

        assert await store.taps.undo(ALICE, PAIRS, since=since) == (0, False)
        assert await kept(store) == {}
