"""What members taught replaces the starter's part only where held-out members are ranked better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.heads.heads import Prior
from personalization.population import adoption
from personalization.population import fit_prior as fitting
from personalization.population.adoption import SOME_LOUD, Form, Votes, before, gains
from personalization.population.fit_prior import fit_prior
from personalization.population.outcomes import platt, platt_chain
from personalization.population.pooled import Pool
from personalization.score_quality import concordance

DIM = 8
TRUTH = np.array([1.5, -1, 0.5, 0, 0, 0, 0, 0])


def starter(mean: np.ndarray = TRUTH) -> Prior:
    """A starter that knows what everybody likes, and one direction in which members differ."""
    factor = np.zeros((DIM + 1, 1), np.float32)
    factor[3] = 1
    variance = np.full(DIM, 0.1, np.float32)
    return Prior(mean.astype(np.float32), variance, 0.0, 1.0, "f" * 32, factor)


def population(n_members: int, *, n_labels: int = 8, taste: np.ndarray = TRUTH, seed: int = 0) -> Pool:
    """Members around one taste; a taste of zeros tosses coins."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_members * n_labels, DIM)).astype(np.float32)
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-X @ taste))).astype(np.float32)
    return Pool(X, y, np.ones(len(y), np.float32), np.repeat(np.arange(n_members), n_labels))


def learnt(pool: Pool, around: Prior) -> Prior:
    return fit_prior(pool, around, member_cap=20.0, device="cpu")


def first_replies(prior: Prior) -> float:
    """Concordance of the mean with the true taste on new replies."""
    asked = np.random.default_rng(9).normal(size=(300, DIM))
    return concordance(asked @ prior.mean, asked @ TRUTH > 0)


def keeps(found: Prior, around: Prior) -> bool:
    """Whether the starter's mean and covariance of weights are still in use."""
    same_factor = found.factor is not None and np.array_equal(found.factor, around.factor)
    return same_factor and np.allclose(found.mean, around.mean, atol=1e-3)


# --- mean and covariance ---------------------------------------------------------------------------------


def coins() -> list[Pool]:
    return [population(10, n_labels=6, taste=np.zeros(DIM), seed=seed) for seed in range(3)]


def test_members_who_toss_coins_do_not_take_the_starter_away() -> None:
    found = [learnt(pool, starter()) for pool in coins()]

    assert sum(keeps(prior, starter()) for prior in found) >= 2


def test_control_without_adoption_coin_tossers_take_the_starter_away(monkeypatch) -> None:
    monkeypatch.setattr(fitting, "gains", lambda gain, needed: True)
    monkeypatch.setattr(adoption, "gains", lambda gain, needed: True)

    found = [learnt(pool, starter()) for pool in coins()]

    assert not any(keeps(prior, starter()) for prior in found)


def test_a_starter_that_is_wrong_gives_way_to_what_members_taught() -> None:
    wrong = starter(np.roll(TRUTH, 4))

    found = learnt(population(40, n_labels=12), wrong)

    assert first_replies(found) > first_replies(wrong) + 0.2


def test_too_few_members_to_hold_any_out_replace_nothing_but_the_threshold() -> None:
    found = learnt(population(3, n_labels=30), starter())

    assert keeps(found, starter())
    assert found.bias_variance == starter().bias_variance


def votes(values: np.ndarray, share: np.ndarray | float = 1.0) -> Votes:
    return Votes(values, np.arange(len(values)), np.broadcast_to(share, len(values)).astype(np.float64))


def test_members_who_hardly_count_decide_nothing() -> None:
    honest, hostile = np.full(20, 0.1), np.full(60, -0.2)
    honest += np.random.default_rng(0).normal(size=20) * 0.05
    share = np.append(np.ones(20), np.full(60, 0.01))

    assert gains(votes(np.append(honest, hostile), share), 1.0)
    assert not gains(votes(np.append(honest, hostile)), 1.0)


@pytest.mark.parametrize("needed", [0.5, 1.0, 2.0])
def test_a_gain_counts_from_some_standard_errors_on(needed: float) -> None:
    noise = np.random.default_rng(0).normal(size=100)
    noise -= noise.mean()
    error = noise.std(ddof=1) / 10

    assert gains(votes(noise + 1.1 * needed * error), needed)
    assert not gains(votes(noise + 0.9 * needed * error), needed)
    assert not gains(Votes(np.ones(2), np.array([3, 3]), np.ones(2)), needed)  # one member alone


# --- loud features ---------------------------------------------------------------------------------------


def loud_starter() -> Prior:
    loud = np.full(DIM, 4, np.float32)
    return replace(starter(), mean=np.zeros(DIM, np.float32), loud=loud)


@pytest.mark.parametrize(("form", "loud"), [(Form(0.3, None), None), (Form(None, SOME_LOUD), SOME_LOUD)])
def test_a_form_takes_each_part_from_where_it_says(form: Form, loud: tuple[float, float] | None) -> None:
    taught = replace(starter(), factor=np.ones((DIM + 1, 1), np.float32), mean=np.ones(DIM, np.float32))

    made = form.of(taught, loud_starter())

    np.testing.assert_array_equal(made.mean, taught.mean)
    kept = loud_starter() if form.spread is None else taught
    np.testing.assert_array_equal(made.factor, kept.factor)
    share = 1.0 if form.spread is None else form.spread
    np.testing.assert_allclose(made.variance, share * loud_starter().variance)
    assert (made.loud is None) == (loud is None)
    assert loud is None or made.loud_chances == loud


def test_before_anything_is_taught_the_starters_loud_features_stay() -> None:
    assert before(starter()) == Form(None, None)
    assert before(loud_starter()) == Form(None, loud_starter().loud_chances)


def test_members_without_loud_tastes_make_loud_features_rarer() -> None:
    """All members like alike, so features that may be loud only add noise."""
    taste = np.full(DIM, 0.4)

    found = learnt(population(60, n_labels=12, taste=taste), replace(loud_starter(), mean=taste))

    assert found.loud is None or found.loud_chances == SOME_LOUD


# --- calibration -----------------------------------------------------------------------------------------


def scored(n: int, slope: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    s = rng.normal(size=n)
    return s, (rng.random(n) < 1 / (1 + np.exp(-slope * s))).astype(np.float64), np.ones(n)


ANCHOR = np.tile([1.0, 0.0], (4, 1))


def test_a_bucket_of_many_people_is_fitted_to_its_own_labels() -> None:
    parts = [scored(20_000, slope, seed) for seed, slope in enumerate((0.7, 1.0, 1.3, 1.0))]

    found = platt_chain(parts, ANCHOR, shift=True)

    for row, (s, y, w) in zip(found, parts, strict=True):
        np.testing.assert_allclose(row, platt(s, y, shift=True, weight=w), atol=0.02)


def test_a_bucket_of_few_people_is_drawn_to_its_neighbours() -> None:
    sure, few = scored(20_000, 0.4), scored(6, 3.0, seed=5)

    alone = platt(*few[:2], shift=True)[0]
    found = platt_chain([None, sure, few, None], ANCHOR, shift=True)[:, 0]

    assert abs(found[2] - 0.4) < 0.1 < abs(alone - 0.4)
    assert found[3] == pytest.approx(found[2], abs=1e-6)  # a bucket without people repeats its neighbour


def test_first_replies_say_nothing_about_heads() -> None:
    """Newcomers of a server whose base rate is far from the prior's: heads keep what stands for them."""
    anchor = np.array([[1.0, 0.0], [0.3, 0.1], [0.6, 0.2], [0.8, -0.1]])
    s, y, w = scored(5000, -2.0)

    found = platt_chain([(s, y, w), None, None, None], anchor, shift=True)

    assert found[0, 0] < -1
    np.testing.assert_allclose(found[1:], anchor[1:])


def test_without_people_the_anchor_stays_and_a_shift_can_be_left_out() -> None:
    anchor = np.array([[1.0, 0.5], [0.6, 0.2], [0.8, -0.1]])

    np.testing.assert_allclose(platt_chain([None] * 3, anchor, shift=True), anchor)
    s, y, w = scored(5000, 1.0)
    assert (platt_chain([(s + 1, y, w), None, None, None], ANCHOR, shift=False)[:, 1] == 0).all()
