"""Rounds over a real store: what is learnt and stored, and what follows if members leave or a worker dies."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from personalization.errors import RoundFailed
from personalization.rounds import gathering
from personalization.rounds import trainer as rounds
from personalization.rounds.trainer import RoundReport
from storage.records import RoundRecord, Who
from tests.unit.personalization.bench import ALICE, BOB, CROWD, LONG, SHORT, Bench, Meanwhile


async def test_round_teaches_each_member_their_own_taste(bench, store, clock) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.teach(BOB, likes=LONG, dislikes=SHORT)

    report = await bench.trainer.run_round()

    assert report == RoundReport(version=1, n_members=2, n_labels=4, device="cpu")
    assert [await bench.favourite(who) for who in (ALICE, BOB)] == [SHORT, LONG]
    assert await store.learning.latest_round() == RoundRecord(
        clock.now, clock.now, await store.learning.cursor(), 2, 4, "cpu"
    )
    assert await store.learning.changed_after(await store.learning.cursor(), 10) == []


async def test_head_that_fails_its_own_labels_is_rolled_back_and_that_is_recorded(bench, store) -> None:
    """Alice contradicts her own labels of the same texts; Bob's labels are consistent."""
    for i in range(20):
        await bench.teach(ALICE, likes=f"{LONG} {i}", dislikes=f"{LONG} {i}")
    await bench.teach(BOB, likes=LONG, dislikes=SHORT)

    report = await bench.trainer.run_round()

    records = [await store.learning.head_of(store.member_id(who)) for who in (ALICE, BOB)]
    assert [(record.n_labels, record.rolled_back) for record in records if record] == [(40, True), (2, False)]
    latest = await store.learning.latest_round()
    assert (report.n_rolled_back, latest.n_rolled_back if latest else None) == (1, 1)
    texts = [SHORT, LONG, "Hm."]
    alice, nobody = [await bench.ranker.rank(who, "", texts) for who in (store.member_id(ALICE), None)]
    assert (alice.scores, alice.head_version) == (nobody.scores, 1)


async def test_head_comes_back_from_a_roll_back_when_labels_are_taken_back(bench, store) -> None:
    for i in range(20):
        await bench.teach(ALICE, likes=f"{LONG} {i}", dislikes=f"{LONG} {i}")
    await bench.trainer.run_round()
    for message in range(2, bench.n_messages + 1, 2):
        await store.feedback.record_reaction(ALICE, message, "👎", added=False)

    report = await bench.trainer.run_round()

    record = await store.learning.head_of(store.member_id(ALICE))
    assert report.n_rolled_back == 0
    assert record is not None
    assert (record.n_labels, record.rolled_back) == (20, False)


async def test_round_without_news_writes_nothing(bench, store) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.trainer.run_round()
    latest, head = await store.learning.latest_round(), await bench.head(ALICE)

    report = await bench.trainer.run_round()

    assert report == RoundReport()
    assert (await store.learning.latest_round(), await bench.head(ALICE)) == (latest, head)


async def test_round_solves_only_members_with_news(bench, store) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.teach(BOB, likes=LONG, dislikes=SHORT)
    await bench.trainer.run_round()
    before = await bench.head(BOB)
    await store.feedback.record_reaction(ALICE, await bench.reply(ALICE, "More."), "👍", added=True)

    report = await bench.trainer.run_round()

    assert (report.version, report.n_members, report.n_labels) == (2, 1, 3)
    assert await bench.head(BOB) == before
    records = [await store.learning.head_of(store.member_id(who)) for who in (ALICE, BOB)]
    assert [(record.version, record.n_labels) for record in records if record] == [(2, 3), (1, 2)]


async def test_ranker_sees_a_new_head_at_once(bench, store) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.trainer.run_round()
    assert await bench.favourite(ALICE) == SHORT
    for _ in range(3):
        await bench.teach(ALICE, likes=LONG, dislikes=SHORT)

    await bench.trainer.run_round()

    assert await bench.favourite(ALICE) == LONG


async def test_head_is_a_pure_function_of_prior_and_labels(bench, store) -> None:
    """Solving in several rounds, with labels added and removed, gives the same bytes as solving once."""
    for text in (SHORT, LONG, "Hm."):
        await bench.teach(ALICE, likes=text, dislikes="Never.")
        await bench.trainer.run_round()
    message = await bench.reply(ALICE, "A detour.")
    await store.feedback.record_reaction(ALICE, message, "👎", added=True)
    await bench.trainer.run_round()
    with_detour = await bench.head(ALICE)
    await store.feedback.record_reaction(ALICE, message, "👎", added=False)
    await bench.trainer.run_round()

    for text in (SHORT, LONG, "Hm."):
        await bench.teach(BOB, likes=text, dislikes="Never.")
    await bench.trainer.run_round()

    assert await bench.head(ALICE) == await bench.head(BOB) != with_detour


async def test_member_without_a_label_left_goes_back_to_the_prior(bench, store) -> None:
    await store.consent.record(ALICE)
    message = await bench.reply(ALICE, SHORT)
    await store.feedback.record_reaction(ALICE, message, "👍", added=True)
    await bench.trainer.run_round()
    assert await bench.head(ALICE) is not None
    await store.feedback.record_reaction(ALICE, message, "👍", added=False)

    report = await bench.trainer.run_round()

    assert (report.n_members, report.n_labels, report.n_removed) == (1, 0, 1)
    assert await bench.head(ALICE) is None
    assert (await bench.ranker.rank(store.member_id(ALICE), "", [SHORT])).head_version == 0


async def test_emoji_nobody_knows_teaches_nothing(bench, store) -> None:
    await store.consent.record(ALICE)
    await store.feedback.record_reaction(ALICE, await bench.reply(ALICE, SHORT), "kappa:4242", added=True)

    report = await bench.trainer.run_round()

    assert (report.n_members, report.n_labels, report.n_removed) == (1, 0, 1)
    assert await bench.head(ALICE) is None


async def test_round_takes_members_in_chunks(bench, store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "MEMBERS_AT_ONCE", 2)
    for who in CROWD[:5]:
        await bench.teach(who, likes=SHORT, dislikes=LONG)

    report = await bench.trainer.run_round()

    assert report == RoundReport(version=3, n_members=5, n_labels=10, device="cpu")
    assert len({await bench.head(who) for who in CROWD[:5]}) == 1


async def test_two_rounds_at_once_run_one_after_the_other(bench) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)

    reports = await asyncio.gather(bench.trainer.run_round(), bench.trainer.run_round())

    assert [report.n_members for report in reports] == [1, 0]


async def test_forgotten_user_during_round_leaves_no_head(bench, store, clock) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.teach(BOB, likes=LONG, dislikes=SHORT)
    left: list[int] = []

    async def alice_leaves() -> None:
        if ALICE.user_id not in left:
            left.append(ALICE.user_id)
            bench.ranker.drop((await store.privacy.forget(ALICE.user_id)).member_ids)

    bench.trainer._store = Meanwhile(store.learning, "record_round", alice_leaves)
    await bench.trainer.run_round()

    assert await bench.head(ALICE) is None
    assert (await bench.ranker.rank(store.member_id(ALICE), "", [SHORT])).head_version == 0
    assert await bench.head(BOB) is not None


async def test_member_who_forgets_and_agrees_again_during_a_round_gets_no_head_of_the_forgotten(
    bench, store
) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.teach(BOB, likes=LONG, dislikes=SHORT)
    left: list[int] = []

    async def alice_starts_anew() -> None:
        if not left:
            left.append(ALICE.user_id)
            await store.privacy.forget(ALICE.user_id)
            await store.consent.record(ALICE)

    bench.trainer._store = Meanwhile(store.learning, "record_round", alice_starts_anew)
    report = await bench.trainer.run_round()

    assert report == RoundReport(version=1, n_members=1, n_labels=2, device="cpu")
    assert await bench.head(ALICE) is None
    assert await bench.head(BOB) is not None


async def test_round_is_given_up_when_members_keep_leaving(bench, store) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    strangers = iter(range(10_000, 20_000))

    async def somebody_leaves() -> None:
        stranger = Who(1, next(strangers))
        await store.consent.record(stranger)
        await store.privacy.forget(stranger.user_id)

    bench.trainer._store = Meanwhile(store.learning, "record_round", somebody_leaves)
    with pytest.raises(RoundFailed, match="leaving in each of 5 tries"):
        await bench.trainer.run_round()
    assert (await store.learning.cursor(), await bench.head(ALICE)) == (0, None)
    bench.trainer._store = store.learning

    assert (await bench.trainer.run_round()).n_members == 1


async def test_round_of_many_chunks_ends_after_the_running_one_when_told_to_stop(
    bench, store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MEMBERS_AT_ONCE", 1)
    crowd = [Who(1, 3000 + i) for i in range(8)]
    for who in crowd:
        await bench.teach(who, likes=SHORT, dislikes=LONG)

    async def stop() -> None:
        bench.trainer.stop_soon()

    bench.trainer._store = Meanwhile(store.learning, "record_round", stop)
    report = await bench.trainer.run_round()

    assert (report.version, report.n_members) == (1, 1)
    assert len(await store.learning.changed_after(await store.learning.cursor(), 10)) == 7
    assert await bench.trainer.run_round() == RoundReport()


async def test_labels_of_a_chunk_are_read_and_solved_a_few_members_at_a_time(
    bench, store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the chunk, and the heads are the same."""
    monkeypatch.setattr(gathering, "MEMBERS_READ_AT_ONCE", 2)
    monkeypatch.setattr(rounds, "SOLVE_BYTES", 1)
    for who in CROWD[:5]:
        await bench.teach(who, likes=SHORT, dislikes=LONG)
    read: list[int] = []
    solved: list[int] = []
    feedback_of, work = store.learning.feedback_of, bench.trainer._off_loop.on_examples

    async def counted(member_ids, newest):
        read.append(len(member_ids))
        return await feedback_of(member_ids, newest)

    async def watched(function, examples, *args):
        solved.append(len(examples.y))
        return await work(function, examples, *args)

    monkeypatch.setattr(store.learning, "feedback_of", counted)
    monkeypatch.setattr(bench.trainer._off_loop, "on_examples", watched)
    report = await bench.trainer.run_round()

    assert (read, solved) == ([2, 2, 1], [2, 2, 1])
    assert report == RoundReport(version=1, n_members=5, n_labels=10, device="cpu")
    assert len({await bench.head(who) for who in CROWD[:5]}) == 1


async def test_only_the_newest_labels_of_a_member_count(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "LABELS_PER_MEMBER", 2)
    await bench.teach(ALICE, likes=LONG, dislikes=SHORT)
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.teach(BOB, likes=SHORT, dislikes=LONG)

    report = await bench.trainer.run_round()

    assert report.n_labels == 4
    assert await bench.head(ALICE) == await bench.head(BOB)


async def test_label_that_comes_during_a_round_is_learnt_in_the_next(bench, store) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    message = await bench.reply(ALICE, "Late.")

    async def late() -> None:
        await store.feedback.record_reaction(ALICE, message, "👍", added=True)

    bench.trainer._store = Meanwhile(store.learning, "record_round", late)
    first = await bench.trainer.run_round()
    bench.trainer._store = store.learning
    second = await bench.trainer.run_round()

    assert [(r.n_members, r.n_labels) for r in (first, second)] == [(1, 2), (1, 3)]


async def test_strangers_cannot_move_a_head(bench, store) -> None:
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.trainer.run_round()
    before = await bench.head(ALICE)
    for who in CROWD:
        await store.consent.record(who)
        for message in range(1, bench.n_messages + 1):
            await store.feedback.record_reaction(who, message, "👎", added=True)

    await bench.trainer.run_round()

    assert await bench.head(ALICE) == before


@pytest.mark.slow
async def test_dead_worker_fails_the_round_and_the_next_has_a_new_one(store, features, clock) -> None:
    bench = Bench(store, features, None, clock)
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.trainer.warm_up()
    (process,) = bench.trainer._off_loop._own._processes.values()  # type: ignore[union-attr]
    assert process.pid != os.getpid()
    os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(RoundFailed, match="the next round starts a new process"):
        await bench.trainer.run_round()
    assert (await store.learning.cursor(), await bench.head(ALICE)) == (0, None)
    report = await bench.trainer.run_round()

    assert (report.version, report.n_labels) == (1, 2)
    assert await bench.favourite(ALICE) == SHORT
    await bench.trainer.close()
    await bench.trainer.close()
    bench.ranker.close()
