"""Rebuilds of the population prior over a real store: its members, who is due afterwards, and erasure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from personalization.encoding.features import FeatureMap
from personalization.errors import RoundFailed
from personalization.heads.heads import Head, Prior, starter_prior
from personalization.labels.labels import EmojiValence
from personalization.rounds.trainer import PriorReport
from storage.records import Who
from tests.fakes import HashEncoder
from tests.unit.personalization.bench import ALICE, CROWD, LONG, SETTINGS, SHORT, Bench, Meanwhile


async def test_prior_waits_for_enough_members(bench, store) -> None:
    for who in CROWD[:4]:
        await bench.teach(who, likes=SHORT, dislikes=LONG)

    report = await bench.trainer.rebuild_prior()

    assert report == PriorReport(starter_prior(bench.features, SETTINGS).prior_id, 0, 0, False)
    assert await store.learning.prior() is None


async def test_prior_carries_the_taste_of_the_many_to_a_newcomer(bench, store) -> None:
    for who in CROWD[:5]:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    await bench.trainer.run_round()

    report = await bench.trainer.rebuild_prior()

    assert (report.n_members, report.n_labels, report.changed) == (5, 10, True)
    assert report.prior_id == bench.ranker.prior.prior_id
    assert await bench.favourite(ALICE) == LONG
    stored = await store.learning.prior()
    assert stored is not None
    assert (stored.body, stored.n_members) == (bench.ranker.prior.to_bytes(), 5)
    again = await bench.trainer.run_round()
    assert again.n_members == 5  # every head depends on the prior
    body = await bench.head(CROWD[0])
    head = Head.from_bytes(body or b"", feature_id=bench.features.feature_id, dim=bench.features.dim)
    assert head.prior_id == report.prior_id


async def test_prior_that_stays_the_same_makes_nobody_due(bench) -> None:
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    first = await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()

    second = await bench.trainer.rebuild_prior()

    assert (first.changed, second.changed) == (True, False)
    assert second.prior_id == first.prior_id
    assert (await bench.trainer.run_round()).n_members == 0


async def test_prior_returns_to_the_starter_when_members_leave(bench, store) -> None:
    for who in CROWD[:5]:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    await bench.trainer.rebuild_prior()
    await store.privacy.forget(CROWD[0].user_id)

    await bench.trainer.run_round()

    starter = starter_prior(bench.features, SETTINGS)
    assert bench.ranker.prior.prior_id == starter.prior_id
    assert await bench.trainer.rebuild_prior() == PriorReport(starter.prior_id, 0, 0, False)


async def test_forgetting_is_exact_for_prior_and_heads(bench, store) -> None:
    for who in CROWD[:5]:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()
    without = [bench.ranker.prior.prior_id, *[await bench.head(who) for who in CROWD[:5]]]
    for _ in range(3):
        await bench.teach(CROWD[5], likes=SHORT, dislikes="Maybe another time, who knows?")
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()
    with_them = [bench.ranker.prior.prior_id, *[await bench.head(who) for who in CROWD[:5]]]

    await store.privacy.forget(CROWD[5].user_id)
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()

    assert [bench.ranker.prior.prior_id, *[await bench.head(who) for who in CROWD[:5]]] == without
    assert not set(with_them) & set(without)


async def laugh(bench: Bench, who: Who, thumb: str) -> None:
    """React with 💀 and a thumb to one reply, and with 💀 alone to another."""
    await bench.teach(who, likes=LONG, dislikes=SHORT)
    for emoji in ("💀", thumb):
        await bench.store.feedback.record_reaction(who, bench.n_messages, emoji, added=True)
    await bench.store.feedback.record_reaction(who, await bench.reply(who, "Hm."), "💀", added=True)


async def test_what_emoji_mean_is_learnt_with_the_prior_and_read_with_it(bench, store) -> None:
    for who in CROWD[:5]:
        await laugh(bench, who, "👎")

    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()

    stored = await store.learning.prior()
    prior = Prior.from_bytes(stored.body, feature_id=bench.features.feature_id, dim=bench.features.dim)
    assert prior.meanings.keys() == {"💀"}
    assert prior.meanings["💀"].value < (EmojiValence().valence("💀") or 0.0)
    head = Head.from_bytes(
        await bench.head(CROWD[0]) or b"", feature_id=bench.features.feature_id, dim=bench.features.dim
    )
    assert head.prior_id == prior.prior_id


async def test_forgetting_is_exact_for_what_emoji_mean(bench, store) -> None:
    for who in CROWD[:5]:
        await laugh(bench, who, "👎")
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()
    without = [bench.ranker.prior.prior_id, *[await bench.head(who) for who in CROWD[:5]]]
    await laugh(bench, CROWD[5], "👍")
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()
    with_them = [bench.ranker.prior.prior_id, *[await bench.head(who) for who in CROWD[:5]]]

    await store.privacy.forget(CROWD[5].user_id)
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()

    assert [bench.ranker.prior.prior_id, *[await bench.head(who) for who in CROWD[:5]]] == without
    assert not set(with_them) & set(without)


async def test_member_who_leaves_while_the_prior_is_made_is_not_in_it(bench, store) -> None:
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    await bench.teach(CROWD[5], likes=SHORT, dislikes="Maybe another time, who knows?")
    left: list[int] = []

    async def leave_once() -> None:
        if not left:
            left.append(CROWD[5].user_id)
            await store.privacy.forget(CROWD[5].user_id)

    bench.trainer._prior._store = Meanwhile(store.learning, "record_prior", leave_once)
    report = await bench.trainer.rebuild_prior()
    bench.trainer._prior._store = store.learning

    assert report.n_members == 5
    assert await bench.trainer.rebuild_prior() == replace(report, changed=False)


async def test_prior_is_given_up_when_members_keep_leaving(bench, store) -> None:
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    strangers = iter(range(10_000, 20_000))

    async def somebody_leaves() -> None:
        stranger = Who(1, next(strangers))
        await store.consent.record(stranger)
        await store.privacy.forget(stranger.user_id)

    bench.trainer._prior._store = Meanwhile(store.learning, "record_prior", somebody_leaves)
    with pytest.raises(RoundFailed, match="leaving in each of 5 tries"):
        await bench.trainer.rebuild_prior()

    assert await store.learning.prior() is None
    assert bench.ranker.prior.prior_id == starter_prior(bench.features, SETTINGS).prior_id


async def test_prior_is_not_made_of_half_the_members_when_told_to_stop(bench, store) -> None:
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)

    async def stop() -> None:
        bench.trainer.stop_soon()

    bench.trainer._store = Meanwhile(store.learning, "members_with_feedback", stop)
    report = await bench.trainer.rebuild_prior()

    assert report == PriorReport(starter_prior(bench.features, SETTINGS).prior_id, 0, 0, False)
    assert await store.learning.prior() is None


async def test_restored_prior_answers_after_a_restart(bench, store, features, clock) -> None:
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    report = await bench.trainer.rebuild_prior()

    again = Bench(store, features, None, clock)
    await again.trainer.restore()

    assert again.ranker.prior.prior_id == report.prior_id
    await again.trainer.close()
    again.ranker.close()


async def test_new_encoder_starts_from_the_starter_prior(bench, store, clock) -> None:
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()

    other = Bench(store, FeatureMap(HashEncoder(24)), bench.trainer._off_loop._given, clock)
    await other.trainer.restore()
    ranking = await other.ranker.rank(store.member_id(CROWD[0]), "", [SHORT])

    assert other.ranker.prior.prior_id == starter_prior(other.features, SETTINGS).prior_id
    assert ranking.head_version == 0
    await other.trainer.close()
    other.ranker.close()


async def test_damaged_prior_is_not_used(bench, store, caplog) -> None:
    for who in CROWD:
        await bench.teach(who, likes=LONG, dislikes=SHORT)
    await bench.trainer.rebuild_prior()
    record = await store.learning.prior()
    assert record is not None
    await store.learning.record_prior(replace(record, body=record.body[:-1]))

    await bench.trainer.restore()

    assert bench.ranker.prior.prior_id == starter_prior(bench.features, SETTINGS).prior_id
    assert "the starter prior answers" in caplog.text
