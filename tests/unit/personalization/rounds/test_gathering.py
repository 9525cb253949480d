"""The sample that the prior is fitted to: bounded, sent in batches, and independent of members who left."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from personalization.errors import RoundFailed
from personalization.heads.heads import starter_prior
from personalization.labels.labels import EmojiValence
from personalization.rounds import gathering, teaching
from personalization.rounds import trainer as rounds
from personalization.rounds.gathering import FeedbackReader, ahead
from personalization.rounds.teaching import buffer_feedback, teach_buffered
from tests.unit.personalization.bench import CROWD, LONG, SETTINGS, SHORT

LATER = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the sample to two to four labels per member, read two members at a time."""
    monkeypatch.setattr(gathering, "FEWEST_LABELS", 2)
    monkeypatch.setattr(gathering, "MOST_LABELS", 4)
    monkeypatch.setattr(gathering, "MEMBERS_READ_AT_ONCE", 2)


async def batches_sent(
    bench, n_labels: int, *, per_day: int = 1000, agreed_before: datetime = LATER
) -> list[list[tuple[bytes, int]]]:
    """Return the members in each batch that is sent to the worker, with their number of labels."""
    pieces: list[list[tuple[bytes, int]]] = []

    async def in_thread(function, *args, **kwargs):
        return function(*args, **kwargs)

    async def in_worker(function, lesson, told):
        assert function is buffer_feedback
        pieces.append([(member.member_id, len(member.X)) for member in told])
        return sum(map(len, pieces))

    reader = FeedbackReader(bench.features, in_thread, in_worker)
    settings = replace(SETTINGS, prior_labels=n_labels, prior_labels_per_day=per_day)
    n_buffered = await reader.send_teachers(
        bench.store.learning, "lesson", settings, agreed_before, lambda: False
    )
    assert n_buffered == sum(map(len, pieces))
    return pieces


async def everybody(bench) -> list[bytes]:
    """Give six members six labels each; their ids in the order of their pseudonyms."""
    for who in CROWD:
        for _ in range(3):
            await bench.teach(who, likes=LONG, dislikes=SHORT)
    return sorted(bench.store.member_id(who) for who in CROWD)


@pytest.mark.parametrize(("n_labels", "each"), [(1000, 4), (24, 4), (20, 3), (12, 2)])
async def test_everybody_teaches_with_as_many_labels_as_there_is_room_for(
    bench, small, n_labels: int, each: int
) -> None:
    names = await everybody(bench)

    pieces = await batches_sent(bench, n_labels)

    assert pieces == [[(name, each) for name in names[i : i + 2]] for i in (0, 2, 4)]


async def test_when_there_are_too_many_members_those_teach_whose_pseudonyms_come_first(bench, small) -> None:
    names = await everybody(bench)

    assert await batches_sent(bench, 7) == [[(names[0], 2), (names[1], 2)], [(names[2], 2)]]


async def test_the_newest_labels_teach(bench, small) -> None:
    await everybody(bench)
    member_id = bench.store.member_id(CROWD[0])

    feedback = [
        member
        async for batch in bench.trainer._reader.read(bench.store.learning, [member_id], 2)
        for member in batch
    ]

    rows = (await bench.store.learning.feedback_of([member_id]))[member_id]
    assert len(rows) == 6
    assert [one.X.tobytes() for one in feedback] == [b"".join(row.features for row in rows[-2:])]


async def test_forgetting_is_exact_when_not_everybody_fits(bench, store, monkeypatch) -> None:
    """After a member leaves, the sample is the one drawn had they never existed."""
    monkeypatch.setattr(gathering, "FEWEST_LABELS", 2)
    bench.trainer._settings = replace(SETTINGS, prior_labels=10)
    texts = [LONG, SHORT, "Hm.", "Why not?", "No idea, sorry.", "Ask me tomorrow."]
    by_name = sorted(CROWD, key=lambda who: store.member_id(who))
    for who, text in zip(by_name[1:], texts[1:], strict=True):
        await bench.teach(who, likes=text, dislikes="Never.")
    without = await bench.trainer.rebuild_prior()
    await bench.teach(by_name[0], likes=texts[0], dislikes="Never.")
    with_them = await bench.trainer.rebuild_prior()

    await store.privacy.forget(by_name[0].user_id)
    after = await bench.trainer.rebuild_prior()

    assert (without.n_members, with_them.n_members) == (5, 5)
    assert after.prior_id == without.prior_id != with_them.prior_id


async def test_a_worker_started_anew_meanwhile_does_not_teach_half_a_class(bench, monkeypatch) -> None:
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    in_worker = bench.trainer._reader._in_worker

    async def dies_once(function, *args, **kwargs):
        found = await in_worker(function, *args, **kwargs)
        teaching._buffer.clear()
        return found

    monkeypatch.setattr(bench.trainer._reader, "_in_worker", dies_once)

    with pytest.raises(RoundFailed, match="expected 6 members to teach the prior, found 0"):
        await bench.trainer.rebuild_prior()


async def test_a_lesson_that_was_not_given_leaves_nothing_behind(bench) -> None:
    starter = starter_prior(bench.features, SETTINGS)
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    await bench.trainer._reader.send_teachers(
        bench.store.learning, "abandoned", SETTINGS, LATER, lambda: False
    )

    await bench.trainer.rebuild_prior()

    assert teaching._buffer == {}
    with pytest.raises(RoundFailed, match="found 0"):
        teach_buffered("abandoned", 6, starter, EmojiValence(), SETTINGS, member_cap=rounds.PRIOR_MEMBER_CAP)


async def test_a_reading_holds_a_bounded_number_of_labels(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six members with six labels each, at most 13 per batch; a member above the limit is read alone."""
    names = await everybody(bench)
    read: list[int] = []

    async def at_once(function, *args, **kwargs):
        return function(*args, **kwargs)

    reader = FeedbackReader(bench.features, at_once, at_once)
    for most in (13, 5):
        monkeypatch.setattr(gathering, "LABELS_AT_ONCE", most)
        read += [len(batch) async for batch in reader.read(bench.store.learning, names, 1000)]

    assert read == [2, 2, 2, 1, 1, 1, 1, 1, 1]


async def test_a_busy_day_of_one_member_teaches_no_more_than_its_cap(bench) -> None:
    await everybody(bench)  # all on the same day

    pieces = await batches_sent(bench, 1000, per_day=2)

    assert [n for piece in pieces for _, n in piece] == [2] * len(CROWD)


async def test_who_agreed_just_now_does_not_teach_yet(bench) -> None:
    await everybody(bench)
    now = bench.trainer._now()

    assert await batches_sent(bench, 1000, agreed_before=now - timedelta(days=1)) == []
    assert sum(map(len, await batches_sent(bench, 1000, agreed_before=now))) == len(CROWD)


async def numbers(made: list[int], n: int, error: Exception | None = None):
    """Yield numbers and note each; end with an error where there is one."""
    try:
        for number in range(n):
            made.append(number)
            yield number
        if error is not None:
            raise error
    finally:
        made.append(-1)


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_items_are_made_ahead_of_their_use_but_only_a_few(most):
    made: list[int] = []
    async with aclosing(ahead(numbers(made, 20), most)) as items:
        assert await anext(items) == 0
        for _ in range(50):
            await asyncio.sleep(0)
        held = len(made)
        rest = [item async for item in items]

    assert held <= most + 2  # one is in use, and one waits for room
    assert held > 1
    assert rest == [*range(1, 20)]


async def test_an_error_comes_after_the_items_before_it():
    got = []
    with pytest.raises(RoundFailed):
        async with aclosing(ahead(numbers([], 3, RoundFailed("no more")), 5)) as items:
            async for item in items:
                await asyncio.sleep(0)
                got.append(item)

    assert got == [0, 1, 2]


async def test_what_is_made_ahead_ends_with_its_user():
    made: list[int] = []
    async with aclosing(ahead(numbers(made, 20), 1)) as items:
        await anext(items)

    assert made[-1] == -1
