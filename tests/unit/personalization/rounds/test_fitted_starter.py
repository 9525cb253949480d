"""A starter that is fitted after the start: it answers at once, and every head is solved around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from personalization.heads.heads import Head, Prior, starter_prior
from storage.records import PriorRecord
from tests.fakes import FixedClock, HashEncoder
from tests.unit.personalization.bench import ALICE, BOB, CROWD, LONG, SETTINGS, SHORT, Bench


def fitted(features: FeatureMap, scale: float = 1.0) -> Prior:
    """A starter that prefers the long reply."""
    plain = starter_prior(features, SETTINGS)
    short, long = features.features([SHORT, LONG])
    return replace(plain, mean=(0.05 * scale * (long - short)).astype(np.float32))


async def head_of(bench: Bench, who) -> Head:
    body = await bench.head(who)
    return Head.from_bytes(body, feature_id=bench.features.feature_id, dim=bench.features.dim)


async def test_it_answers_at_once_and_every_head_is_solved_around_it(bench, features):
    starter = fitted(features)
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.trainer.run_round()
    around_plain = await head_of(bench, ALICE)

    changed = await bench.trainer.use_starter(starter, store=True)
    first = await bench.favourite(BOB)
    report = await bench.trainer.run_round()

    around_fitted = await head_of(bench, ALICE)
    assert (changed, first, report.n_members) == (True, LONG, 1)
    assert around_plain.prior_id != around_fitted.prior_id == starter.prior_id

    # A head is a function of prior and labels: the same as in a bot that had the starter from the beginning.
    await bench.store.feedback.record_reaction(ALICE, 1, "👍", added=True)
    await bench.trainer.run_round()
    assert await bench.head(ALICE) == around_fitted.to_bytes()


async def test_it_changes_nothing_a_second_time(bench, features):
    await bench.trainer.use_starter(fitted(features), store=True)
    await bench.teach(ALICE, likes=SHORT, dislikes=LONG)
    await bench.trainer.run_round()

    changed = await bench.trainer.use_starter(fitted(features), store=True)

    assert not changed
    assert (await bench.trainer.run_round()).n_members == 0, "nobody became due"


async def test_another_process_reads_it_from_the_store_alone(bench, features, executor, clock):
    await bench.trainer.use_starter(fitted(features), store=True)
    other = Bench(bench.store, features, executor, clock)

    await other.trainer.restore()

    assert other.ranker.prior.prior_id == fitted(features).prior_id
    await other.trainer.close()
    other.ranker.close()


async def test_a_process_that_does_not_train_stores_nothing(bench, features):
    await bench.trainer.use_starter(fitted(features), store=False)

    assert await bench.store.learning.prior() is None
    assert bench.ranker.prior.prior_id == fitted(features).prior_id


async def test_a_prior_that_members_taught_stays_until_it_is_rebuilt_around_it(bench, features):
    for who in CROWD[:5]:
        await bench.teach(who, likes=SHORT, dislikes=LONG)
    taught = await bench.trainer.rebuild_prior()

    changed = await bench.trainer.use_starter(fitted(features), store=True)
    between = bench.ranker.prior.prior_id
    rebuilt = await bench.trainer.rebuild_prior()

    assert (changed, between) == (True, taught.prior_id)
    assert rebuilt.changed and rebuilt.n_members == 5


@pytest.mark.parametrize("old", ["an earlier starter", "a prior for other features", "no prior at all"])
async def test_a_stored_prior_that_nobody_taught_makes_room(bench, features, old):
    bodies = {
        "an earlier starter": (fitted(features, 2.0).to_bytes(), 0),
        "a prior for other features": (starter_prior(FeatureMap(HashEncoder(8)), SETTINGS).to_bytes(), 20),
        "no prior at all": (b"damaged", 20),
    }
    body, n_members = bodies[old]
    await bench.store.learning.record_prior(PriorRecord(body, n_members, FixedClock()()))

    await bench.trainer.use_starter(fitted(features), store=True)

    stored = await bench.store.learning.prior()
    assert (stored.body, stored.n_members) == (fitted(features).to_bytes(), 0)
    assert bench.ranker.prior.prior_id == fitted(features).prior_id


async def test_after_an_erasure_it_is_stored_again_and_holds_nothing_of_who_left(bench, features):
    await bench.trainer.use_starter(fitted(features), store=True)
    for who in CROWD[:5]:
        await bench.teach(who, likes=SHORT, dislikes=LONG)
    await bench.trainer.rebuild_prior()

    for who in CROWD[:5]:
        await bench.store.privacy.forget(who.user_id)
    await bench.trainer.rebuild_prior()

    stored = await bench.store.learning.prior()
    assert (stored.body, stored.n_members) == (fitted(features).to_bytes(), 0)
    assert bench.ranker.prior.prior_id == fitted(features).prior_id
