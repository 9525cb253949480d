"""Heads and priors as bytes: round trips, and bytes that are rejected."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from personalization.encoding.features import FeatureMap
from personalization.errors import HeadDamaged, HeadOutdated
from personalization.heads.heads import Head, HeadBank, Prior, starter_prior
from personalization.heads.spread import LEADING
from personalization.labels.labels import Meaning
from personalization.settings import LearningSettings

D, FEATURES, PRIOR = 411, "f" * 32, "p" * 32


def some_head(**changes) -> Head:
    weights = np.random.default_rng(0).normal(size=D).astype(np.float16)
    return replace(Head(weights, -0.5, FEATURES, PRIOR), **changes)


def some_prior() -> Prior:
    rng = np.random.default_rng(1)
    return Prior(
        rng.normal(size=D).astype(np.float32), rng.uniform(0.1, 2, D).astype(np.float32), 0.3, 4.0, FEATURES
    )


def packed(w: np.ndarray, b: np.ndarray, **metadata: str) -> bytes:
    header = {"feature_id": FEATURES, "prior_id": PRIOR} | metadata
    return save({"w": w, "b": b}, metadata={"simpatico": json.dumps(header)})


def test_head_of_the_usual_size_is_small() -> None:
    spread = np.random.default_rng(2).random(LEADING * (LEADING + 1) // 2 + 1).astype(np.float16)

    assert len(some_head(share=0.75, spread=spread).to_bytes()) <= 1536


def test_equal_heads_give_equal_bytes() -> None:
    assert {some_head().to_bytes() for _ in range(50)} == {some_head().to_bytes()}


def test_head_comes_back_whole() -> None:
    head = some_head()

    again = Head.from_bytes(head.to_bytes(), feature_id=FEATURES, dim=D)

    np.testing.assert_array_equal(again.weights, head.weights)
    assert (again.bias, again.feature_id, again.prior_id) == (-0.5, FEATURES, PRIOR)


@pytest.mark.parametrize("spread", [None, np.array([0.5, 0.25, 0.125, 1.0], np.float16)])
@pytest.mark.parametrize("share", [0.0, 0.75, 1.0])
def test_share_and_spread_come_back(share: float, spread: np.ndarray | None) -> None:
    head = some_head(share=share, spread=spread)

    again = Head.from_bytes(head.to_bytes(), feature_id=FEATURES, dim=D)

    assert again.share == share
    np.testing.assert_array_equal(again.spread, spread)


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(HeadDamaged, match="share from 0 to 1"):
        Head.from_bytes(some_head(share=1.5).to_bytes(), feature_id=FEATURES, dim=D)


def test_prior_comes_back_whole() -> None:
    prior = some_prior()

    again = Prior.from_bytes(prior.to_bytes(), feature_id=FEATURES, dim=D)

    np.testing.assert_array_equal(again.mean, prior.mean)
    np.testing.assert_array_equal(again.variance, prior.variance)
    assert (again.bias_mean, again.bias_variance, again.prior_id) == (0.3, 4.0, prior.prior_id)


MEANINGS = {"💀": Meaning(0.5, 0.25, 2.0), ":4242": Meaning(-1.0, 0.75, 0.5)}


def test_prior_with_emoji_meanings_comes_back_whole() -> None:
    prior = replace(some_prior(), meanings=MEANINGS)

    again = Prior.from_bytes(prior.to_bytes(), feature_id=FEATURES, dim=D)

    assert again.meanings == MEANINGS
    assert again.to_bytes() == prior.to_bytes()
    turned = replace(prior, meanings=dict(reversed(MEANINGS.items())))
    assert turned.prior_id == prior.prior_id != some_prior().prior_id


def shifted_prior() -> Prior:
    """A prior of two directions and the own intercept, with the shifts of two servers."""
    factor = np.zeros((D + 1, 2), np.float32)
    factor[0, 0] = factor[-1, 1] = 1.0
    shifts = {bytes([n]) * 16: np.array([n, 0.5, -0.25], np.float32) for n in (7, 3)}
    return replace(some_prior(), factor=factor, shifts=shifts)


def test_prior_with_shifts_of_servers_comes_back_whole() -> None:
    prior = shifted_prior()

    again = Prior.from_bytes(prior.to_bytes(), feature_id=FEATURES, dim=D)

    assert {guild: shift.tolist() for guild, shift in again.shifts.items()} == {
        bytes([n]) * 16: [n, 0.5, -0.25] for n in (3, 7)
    }
    assert again.to_bytes() == prior.to_bytes()


def test_a_prior_around_a_server_lies_where_its_shift_says() -> None:
    prior = shifted_prior()

    moved = prior.around(b"\x07" * 16)

    np.testing.assert_allclose(moved.mean, prior.mean + 7 * (np.arange(D) == 0), atol=1e-6)
    assert moved.bias_mean == pytest.approx(prior.bias_mean + 0.5 - 0.25 * prior.bias_variance**0.5)
    assert prior.around(b"unknown").bias_mean == prior.bias_mean


@pytest.mark.parametrize("guilds", [["07"], ["03", "03"], ["03", "zz"], ["03", "0"], None])
def test_shifts_without_their_servers_are_refused(guilds: object) -> None:
    arrays = load(shifted_prior().to_bytes())
    body = save(arrays, metadata={"simpatico": json.dumps({"feature_id": FEATURES, "guilds": guilds})})

    with pytest.raises(HeadDamaged, match="shifts of"):
        Prior.from_bytes(body, feature_id=FEATURES, dim=D)


def test_shifts_in_other_directions_than_the_priors_are_refused() -> None:
    prior = replace(shifted_prior(), shifts={b"\x07" * 16: np.zeros(5, np.float32)})

    with pytest.raises(HeadDamaged, match="in 3 directions"):
        Prior.from_bytes(prior.to_bytes(), feature_id=FEATURES, dim=D)


def test_a_prior_from_before_emoji_were_learnt_still_loads() -> None:
    prior = some_prior()
    bias = np.array([prior.bias_mean, prior.bias_variance])
    arrays = {"mean": prior.mean, "variance": prior.variance, "bias": bias}
    old = save(arrays, metadata={"simpatico": json.dumps({"feature_id": FEATURES})})

    again = Prior.from_bytes(old, feature_id=FEATURES, dim=D)

    assert again.meanings == {}
    assert again.to_bytes() == old


@pytest.mark.parametrize(
    "emoji",
    [["💀"], ["💀", "💀"], ["💀", "🔥", "🤡"], "💀🔥", None, {"💀": 1}],
    ids=lambda emoji: repr(emoji),
)
def test_meanings_without_their_emoji_are_refused(emoji: object) -> None:
    prior = replace(some_prior(), meanings=MEANINGS)
    arrays = load(prior.to_bytes())
    body = save(arrays, metadata={"simpatico": json.dumps({"feature_id": FEATURES, "emoji": emoji})})

    with pytest.raises(HeadDamaged, match="meanings"):
        Prior.from_bytes(body, feature_id=FEATURES, dim=D)


@pytest.mark.parametrize("wrong", [Meaning(1.5, 0.5, 1.0), Meaning(0.0, -0.5, 1.0), Meaning(0.0, 0.5, 0.0)])
def test_a_meaning_out_of_range_is_refused(wrong: Meaning) -> None:
    with pytest.raises(HeadDamaged, match="meanings within range"):
        Prior.from_bytes(replace(some_prior(), meanings={"💀": wrong}).to_bytes(), feature_id=FEATURES, dim=D)


def test_prior_id_changes_with_every_number() -> None:
    prior = some_prior()
    more = prior.mean + np.eye(D, dtype=np.float32)[7]
    others = [
        replace(prior, mean=more),
        replace(prior, variance=prior.variance * 2),
        replace(prior, bias_mean=0.31),
        replace(prior, bias_variance=5.0),
        replace(prior, feature_id="g" * 32),
    ]

    assert len({p.prior_id for p in [prior, *others]}) == 6


GOOD_W, GOOD_B = np.zeros(D, np.float16), np.zeros(1, np.float16)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not safetensors",
        b"\xff" * 200,
        some_head().to_bytes()[:-1],
        some_head().to_bytes() + b"\0",
        packed(np.zeros(D - 1, np.float16), GOOD_B),
        packed(np.zeros(D, np.float32), GOOD_B),
        packed(np.zeros((1, D), np.float16), GOOD_B),
        packed(GOOD_W, np.zeros(2, np.float16)),
        packed(np.full(D, np.nan, np.float16), GOOD_B),
        packed(GOOD_W, np.full(1, np.inf, np.float16)),
        save({"w": GOOD_W, "b": GOOD_B}),
        save({"w": GOOD_W, "b": GOOD_B}, metadata={"simpatico": "[]"}),
        save({"w": GOOD_W}, metadata={"simpatico": json.dumps({"feature_id": FEATURES})}),
        some_prior().to_bytes(),
    ],
)
def test_damaged_head_is_refused(body: bytes) -> None:
    with pytest.raises(HeadDamaged, match="expected a head") as caught:
        Head.from_bytes(body, feature_id=FEATURES, dim=D)

    assert not isinstance(caught.value, HeadOutdated)


def test_no_flipped_bit_reads_as_another_kind_of_error() -> None:
    """Any bytes yield a head or HeadDamaged."""
    body, rng, n_refused = some_head().to_bytes(), np.random.default_rng(2), 0
    for _ in range(500):
        broken = bytearray(body)
        broken[int(rng.integers(0, 330))] ^= 1 << int(rng.integers(0, 8))
        try:
            Head.from_bytes(bytes(broken), feature_id=FEATURES, dim=D)
        except HeadDamaged:
            n_refused += 1

    assert n_refused > 250


def test_head_for_other_features_is_outdated() -> None:
    with pytest.raises(HeadOutdated, match="for the features ffff"):
        Head.from_bytes(some_head(feature_id="g" * 32).to_bytes(), feature_id=FEATURES, dim=D)


@pytest.mark.parametrize("broken", [{"variance": np.full(D, -1.0, np.float32)}, {"bias_variance": -1.0}])
def test_prior_without_variance_is_refused(broken) -> None:
    with pytest.raises(HeadDamaged, match="variances >= 0"):
        Prior.from_bytes(replace(some_prior(), **broken).to_bytes(), feature_id=FEATURES, dim=D)


def test_starter_prior_takes_its_spread_from_the_settings(features: FeatureMap) -> None:
    prior = starter_prior(features, LearningSettings(delta_sd=2.0, style_sd=0.5, bias_sd=3.0))

    assert prior.mean.tolist() == [0.0] * 43
    np.testing.assert_allclose(prior.variance, [4.0] * 16 + [0.25 / 27] * 27, rtol=1e-6)
    assert (prior.bias_mean, prior.bias_variance, prior.feature_id) == (0.0, 9.0, features.feature_id)


def test_heads_of_two_kinds_are_not_stacked() -> None:
    with pytest.raises(ValueError, match="found 2 kinds"):
        HeadBank.stack([some_head(), some_head(prior_id="q" * 32)])
