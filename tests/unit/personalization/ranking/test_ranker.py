"""Rankings from published heads, the cache of heads, and fallbacks when a head cannot be used."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from personalization.encoding.features import STYLE_FEATURES, FeatureMap
from personalization.heads.heads import Head, Prior, starter_prior
from personalization.ranking.ranker import HeadOutdated, Ranker, RankingFailed
from personalization.settings import LearningSettings
from storage.records import HeadRecord, MemberId
from tests.fakes import HashEncoder

ALICE, BOB = MemberId(b"a" * 16), MemberId(b"b" * 16)
CANDIDATES = ["Yes.", "Yes, and let me tell you why: it has to do with the weather.", "No idea!", "Hm?"]
GREEDY = LearningSettings(policy="greedy")


class Shelf:
    """Stored heads by member, with a list of the loads."""

    def __init__(self) -> None:
        self.heads: dict[MemberId, HeadRecord] = {}
        self.asked: list[MemberId] = []
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None

    async def head_of(self, member_id: MemberId) -> HeadRecord | None:
        self.asked.append(member_id)
        record = self.heads.get(member_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return record


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def make_ranker(shelf: Shelf, features: FeatureMap):
    made: list[Ranker] = []

    def make(settings: LearningSettings = GREEDY, feature_map: FeatureMap = features) -> Ranker:
        prior = starter_prior(feature_map, settings)
        made.append(Ranker(feature_map, settings, shelf.head_of, prior, np.random.default_rng(0)))
        return made[-1]

    yield make
    for ranker in made:
        ranker.close()


def stored(
    features: FeatureMap, *, version: int = 1, feature_id: str | None = None, **weights: float
) -> HeadRecord:
    """A stored head with these weights on style features."""
    w = np.zeros(features.dim, np.float16)
    for name, weight in weights.items():
        w[features.n_embedding + STYLE_FEATURES.index(name)] = weight
    head = Head(w, 0.5, feature_id or features.feature_id, "p" * 32)
    return HeadRecord(version, 20, head.to_bytes(), datetime(2026, 1, 1, tzinfo=UTC))


async def test_score_is_relevance_plus_bounded_taste(make_ranker, shelf, features) -> None:
    shelf.heads[ALICE] = stored(features, version=7, length_chars=2.0)
    ranker = make_ranker(replace(GREEDY, relevance_weight=1.5, personal_bound=2.0))

    ranking = await ranker.rank(ALICE, "What is up?", CANDIDATES)

    rows = features.features(CANDIDATES)
    length = rows[:, features.n_embedding]
    np.testing.assert_array_equal(ranking.features, rows)
    np.testing.assert_allclose(ranking.personal, 2.0 * length + 0.5, rtol=1e-5)
    encoder = HashEncoder(16)
    np.testing.assert_allclose(
        ranking.relevance, encoder.encode(CANDIDATES) @ encoder.encode(["What is up?"])[0], atol=1e-6
    )
    taste = ranking.personal - ranking.personal.mean()
    np.testing.assert_allclose(
        ranking.scores, 1.5 * ranking.relevance + 2.0 * np.tanh(taste / 2.0), rtol=1e-5
    )
    best = int(np.argmax(ranking.scores))
    assert (ranking.chosen, ranking.order) == (best, tuple(np.argsort(-np.array(ranking.scores)).tolist()))
    assert ranking.propensities == tuple(float(i == best) for i in range(4))
    assert (ranking.policy, ranking.head_version) == ("greedy", 7)
    assert ranking.feature_id == features.feature_id
    assert ranking.features.dtype == np.float32


async def test_taste_cannot_move_a_score_beyond_its_bound(make_ranker, shelf, features) -> None:
    shelf.heads[ALICE] = stored(features, length_chars=60000.0, emoji=-60000.0)
    ranker = make_ranker(replace(GREEDY, relevance_weight=0.0, personal_bound=3.0))

    ranking = await ranker.rank(ALICE, "Hi", CANDIDATES)

    assert np.abs(ranking.personal).max() > 1000
    assert max(map(abs, ranking.scores)) <= 3.0


@pytest.mark.parametrize("member_id", [None, BOB])
async def test_member_without_head_gets_the_prior(make_ranker, features, member_id) -> None:
    ranker = make_ranker()
    prior = replace(ranker.prior, mean=features.features(["Hm?"])[0])

    await ranker.use_prior(prior)
    ranking = await ranker.rank(member_id, "Hi", CANDIDATES)

    np.testing.assert_allclose(ranking.personal, features.features(CANDIDATES) @ prior.mean, rtol=1e-2)
    assert ranking.head_version == 0


async def test_member_has_own_head_and_nobody_elses(make_ranker, shelf, features) -> None:
    shelf.heads = {
        ALICE: stored(features, version=3, length_chars=-4.0),
        BOB: stored(features, version=4, length_chars=4.0),
    }
    ranker = make_ranker(replace(GREEDY, relevance_weight=0.0))

    alice, bob = await asyncio.gather(*(ranker.rank(who, "Hi", CANDIDATES) for who in (ALICE, BOB)))

    assert [CANDIDATES[alice.chosen], CANDIDATES[bob.chosen]] == ["Hm?", CANDIDATES[1]]
    assert [alice.head_version, bob.head_version] == [3, 4]


async def test_head_for_other_features_is_ignored_in_silence(make_ranker, shelf, features, caplog) -> None:
    shelf.heads[ALICE] = stored(features, feature_id="0" * 32, length_chars=9.0)

    ranking = await make_ranker().rank(ALICE, "Hi", CANDIDATES)

    assert (ranking.personal.tolist(), ranking.head_version) == ([0.0] * 4, 0)
    assert caplog.records == []


async def test_damaged_head_falls_back_to_the_prior_with_one_warning(
    make_ranker, shelf, features, caplog
) -> None:
    good = stored(features, length_chars=9.0)
    shelf.heads[ALICE] = replace(good, body=good.body[:-1])
    ranker = make_ranker()

    rankings = [await ranker.rank(ALICE, "Hi", CANDIDATES) for _ in range(3)]

    assert [(r.personal.tolist(), r.head_version) for r in rankings] == [([0.0] * 4, 0)] * 3
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "the prior answers" in caplog.text
    assert ALICE.hex() not in caplog.text


async def test_head_that_cannot_be_read_costs_only_this_ranking(make_ranker, shelf, features, caplog) -> None:
    shelf.heads[ALICE] = stored(features, length_chars=9.0)
    ranker = make_ranker()
    shelf.error = OSError("secret path")
    first = await ranker.rank(ALICE, "Hi", CANDIDATES)
    shelf.error = None

    second = await ranker.rank(ALICE, "Hi", CANDIDATES)

    assert [first.head_version, second.head_version] == [0, 1]
    assert "(OSError)" in caplog.text
    assert "secret" not in caplog.text


async def test_head_is_read_once_until_it_is_published_anew(make_ranker, shelf, features) -> None:
    shelf.heads[ALICE] = stored(features, version=1)
    ranker = make_ranker()
    versions = [(await ranker.rank(ALICE, "Hi", CANDIDATES)).head_version for _ in range(2)]
    shelf.heads[ALICE] = stored(features, version=2)
    versions.append((await ranker.rank(ALICE, "Hi", CANDIDATES)).head_version)

    await ranker.publish([ALICE])
    versions.append((await ranker.rank(ALICE, "Hi", CANDIDATES)).head_version)

    assert versions == [1, 1, 1, 2]
    assert shelf.asked == [ALICE, ALICE]


async def test_dropped_member_leaves_nothing_in_memory(make_ranker, shelf, features) -> None:
    shelf.heads = {ALICE: stored(features), BOB: stored(features)}
    ranker = make_ranker()
    for who in (ALICE, BOB):
        await ranker.rank(who, "Hi", CANDIDATES)
    del shelf.heads[ALICE]

    ranker.drop([ALICE])

    assert ranker.n_kept == 1
    assert (await ranker.rank(ALICE, "Hi", CANDIDATES)).head_version == 0
    assert (await ranker.rank(BOB, "Hi", CANDIDATES)).head_version == 1


async def test_head_read_while_its_member_is_dropped_is_not_kept(make_ranker, shelf, features) -> None:
    shelf.heads[ALICE] = stored(features)
    shelf.gate = asyncio.Event()
    ranker = make_ranker()
    ranking = asyncio.create_task(ranker.rank(ALICE, "Hi", CANDIDATES))
    while not shelf.asked:
        await asyncio.sleep(0)

    ranker.drop([ALICE])
    del shelf.heads[ALICE]
    shelf.gate.set()
    await ranking

    assert ranker.n_kept == 0


async def test_memory_holds_no_more_heads_than_configured(make_ranker, shelf, features) -> None:
    members = [MemberId(bytes([i]) * 16) for i in range(8)]
    shelf.heads = {member: stored(features) for member in members}
    ranker = make_ranker(replace(GREEDY, head_cache=3))

    for member in [*members, members[0], members[7], members[0]]:
        await ranker.rank(member, "Hi", CANDIDATES)

    assert ranker.n_kept == 3
    assert shelf.asked == [*members, members[0]]


async def test_a_cache_made_smaller_keeps_the_heads_used_last(make_ranker, shelf) -> None:
    ranker = make_ranker(replace(GREEDY, head_cache=2))
    for member in (ALICE, BOB, ALICE):
        await ranker.head_of(member)

    ranker.use_settings(replace(GREEDY, head_cache=1))
    await ranker.head_of(ALICE)
    assert (ranker.n_kept, shelf.asked) == (1, [ALICE, BOB])


def directed(prior: Prior) -> Prior:
    """A prior under which members differ only in how long they like replies to be."""
    factor = np.zeros((prior.dim + 1, 1), np.float32)
    factor[prior.dim - len(STYLE_FEATURES) + STYLE_FEATURES.index("length_chars")] = 5.0
    return replace(prior, variance=np.zeros_like(prior.variance), factor=factor)


async def test_what_labels_leave_open_decides_how_much_is_explored(make_ranker, shelf, features) -> None:
    ranker = make_ranker(LearningSettings(thompson_scale=1.0, exploration=0.0))
    prior = replace(directed(ranker.prior), loud=None)
    await ranker.use_prior(prior)
    told = Head(prior.head().weights, 0.0, features.feature_id, prior.prior_id, 1.0)
    sure, unsure = np.array([0.0, 1.0], np.float16), np.array([1.0, 1.0], np.float16)
    strangers = replace(told, spread=sure, prior_id="0" * 32)
    for who, head in ((ALICE, replace(told, spread=sure)), (BOB, replace(told, spread=unsure))):
        shelf.heads[who] = HeadRecord(1, 20, head.to_bytes(), datetime(2026, 1, 1, tzinfo=UTC))
    carol = MemberId(b"c" * 16)
    shelf.heads[carol] = HeadRecord(1, 20, strangers.to_bytes(), datetime(2026, 1, 1, tzinfo=UTC))

    alice, bob, of_another_prior, nobody = [
        max((await ranker.rank(who, "Hi", CANDIDATES)).propensities) for who in (ALICE, BOB, carol, None)
    ]

    assert alice == 1.0
    assert [bob, of_another_prior, nobody] == pytest.approx([nobody] * 3, abs=0.1)
    assert nobody < 0.7


async def test_ranking_says_what_the_prior_would_have_said(make_ranker, shelf, features) -> None:
    shelf.heads[ALICE] = stored(features, length_chars=4.0)
    ranker = make_ranker()

    alice, nobody = [await ranker.rank(who, "Hi", CANDIDATES) for who in (ALICE, None)]

    assert alice.prior_scores == nobody.prior_scores == nobody.scores
    assert alice.scores != alice.prior_scores


async def test_who_has_no_head_is_answered_by_the_servers_mean_then_by_the_prior(
    make_ranker, shelf, features
) -> None:
    shelf.heads[ALICE] = stored(features, length_chars=4.0)
    ranker = make_ranker()
    factor = np.eye(features.dim + 1, 1, dtype=np.float32)
    prior = replace(ranker.prior, factor=factor, shifts={b"g" * 16: np.array([0.5, 0.0], np.float32)})
    await ranker.use_prior(prior)

    found = [await ranker.head_of(who, guild) for who in (ALICE, BOB, None) for guild in (b"g" * 16, b"")]

    own = Head.from_bytes(shelf.heads[ALICE].body, feature_id=features.feature_id, dim=features.dim)
    servers, priors = prior.around(b"g" * 16).head(), prior.head()
    expected = [own, own, servers, priors, servers, priors]
    assert [head.to_bytes() for head in found] == [head.to_bytes() for head in expected]


async def test_same_seed_same_choices(shelf, features) -> None:
    async def orders() -> list[tuple[int, ...]]:
        settings = LearningSettings(policy="epsilon", exploration=0.5)
        prior = starter_prior(features, settings)
        ranker = Ranker(features, settings, shelf.head_of, prior, np.random.default_rng(3))
        found = [(await ranker.rank(None, "Hi", CANDIDATES)).order for _ in range(20)]
        ranker.close()
        return found

    first, second = await orders(), await orders()

    assert first == second
    assert len(set(first)) > 2


async def test_encoding_leaves_the_event_loop_free(make_ranker) -> None:
    """The loop keeps running other callbacks while a slow encoder works."""
    release = threading.Event()

    class SlowEncoder(HashEncoder):
        def encode(self, texts):
            release.wait(10)
            return super().encode(texts)

    ranker = make_ranker(feature_map=FeatureMap(SlowEncoder(16)))
    ranking = asyncio.create_task(ranker.rank(None, "Hi", CANDIDATES))

    for _ in range(100):
        await asyncio.sleep(0)

    assert not ranking.done()
    release.set()
    assert len((await ranking).order) == 4


async def test_failing_encoder_is_one_clear_error(make_ranker) -> None:
    class BrokenEncoder(HashEncoder):
        def encode(self, texts):
            raise RuntimeError(f"CUDA out of memory at {texts}")

    with pytest.raises(RankingFailed, match="a RuntimeError in the encoder") as caught:
        await make_ranker(feature_map=FeatureMap(BrokenEncoder(16))).rank(None, "Hi", CANDIDATES)

    assert "Yes." not in str(caught.value)


async def test_no_candidates_are_refused(make_ranker) -> None:
    with pytest.raises(ValueError, match="one or more candidates"):
        await make_ranker().rank(None, "Hi", [])


async def test_prior_for_other_features_is_refused(make_ranker) -> None:
    ranker = make_ranker()

    with pytest.raises(HeadOutdated):
        await ranker.use_prior(replace(ranker.prior, feature_id="0" * 32))
