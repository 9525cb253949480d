"""Properties that every way of solving heads must have: a named list, for several u and devices.

A new head type runs through the same list, and opts out visibly of a property that it does not have.
Newton's method is checked in :mod:`tests.conformance.test_newton`, the prior in
:mod:`tests.conformance.test_prior`.
"""

from __future__ import annotations

import copy
import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest

from personalization.heads.heads import Head, HeadBank
from personalization.solving import member_chunk as chunk
from personalization.solving.newton import newton_dual
from personalization.solving.training import Examples, solve_heads
from tests.conformance.members import (
    DEVICES,
    DIM,
    MEMBERS,
    assert_same_heads,
    bodies,
    some_members,
    some_prior,
)
from tests.reference import map_head


@MEMBERS
@DEVICES
def test_batched_equals_one_by_one(u: int, device: str) -> None:
    members = some_members(u)

    together, _ = solve_heads(Examples.pad(members), some_prior(), device)

    alone = [solve_heads(Examples.pad([member]), some_prior(), device)[0] for member in members]
    assert bodies(together) == [bodies(bank)[0] for bank in alone]


@pytest.mark.parametrize("kind", ["diagonal", "factor", "both"])
def test_company_has_no_effect_at_full_size(kind: str) -> None:
    """With many members of all sizes, some equal, a member's bytes equal those of the member solved alone."""
    rng = np.random.default_rng(9)
    dim, sizes = 411, [*rng.integers(1, 130, size=40), *[20] * 70, 300]
    members = []
    for n in sizes:
        X = rng.normal(size=(n, dim)).astype(np.float32) / 8
        members.append((X, rng.random(n).astype(np.float32), np.ones(n, np.float32)))
    factor = (rng.normal(size=(dim + 1, 32)) / 4).astype(np.float32)
    prior = some_prior(dim=dim)
    if kind != "diagonal":
        variance = prior.variance if kind == "both" else np.zeros(dim, np.float32)
        prior = replace(prior, factor=factor, variance=variance)

    together = bodies(solve_heads(Examples.pad(members), prior, "cpu")[0])

    some = [0, 7, 23, 39, 45, 109, 110]
    alone = [solve_heads(Examples.pad([members[i]]), prior, "cpu")[0] for i in some]
    assert [together[i] for i in some] == [bodies(bank)[0] for bank in alone]
    backwards = bodies(solve_heads(Examples.pad(members[::-1]), prior, "cpu")[0])
    assert backwards[::-1] == together


@MEMBERS
@DEVICES
def test_matches_reference(u: int, device: str) -> None:
    members, prior = some_members(u), some_prior()

    bank, report = solve_heads(Examples.pad(members), prior, device)

    for i, (X, y, weight) in enumerate(members):
        w, b = map_head(X, y, weight, prior.mean, prior.variance, prior.bias_mean, prior.bias_variance)
        assert_same_heads(bank.weights[i], w, f"member {i}")
        assert_same_heads(bank.biases[i], b, f"member {i}")
    assert (report.n_members, report.n_unsolved) == (u, 0)
    assert report.n_examples == sum(len(y) for _, y, _ in members)


@MEMBERS
@DEVICES
def test_padding_has_no_effect(u: int, device: str) -> None:
    plain = Examples.pad(some_members(u))
    n = plain.y.shape[1]
    rng = np.random.default_rng(4)
    places = np.sort(rng.permutation(n + 9)[:n])  # examples spread out between padding
    X = np.full((u, n + 9, DIM), np.nan, np.float32)
    y, weight = np.full((2, u, n + 9), -7.0, np.float32)
    mask = np.zeros((u, n + 9), bool)
    mask[:, places] = plain.mask
    X[mask], y[mask], weight[mask] = plain.X[plain.mask], plain.y[plain.mask], plain.weight[plain.mask]

    padded, _ = solve_heads(Examples(X, y, weight, mask), some_prior(), device)

    assert bodies(padded) == bodies(solve_heads(plain, some_prior(), device)[0])


@MEMBERS
@DEVICES
def test_user_order_has_no_effect(u: int, device: str) -> None:
    members = some_members(u)

    backwards, _ = solve_heads(Examples.pad(members[::-1]), some_prior(), device)

    assert bodies(backwards)[::-1] == bodies(solve_heads(Examples.pad(members), some_prior(), device)[0])


@MEMBERS
@DEVICES
def test_unseen_user_gets_prior(u: int, device: str) -> None:
    nothing = (np.zeros((0, DIM), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))

    among_others, _ = solve_heads(Examples.pad([*some_members(u), nothing]), some_prior(), device)
    alone, _ = solve_heads(Examples.pad([nothing] * u), some_prior(), device)

    unseen = some_prior().head().to_bytes()
    assert bodies(among_others)[-1] == unseen
    assert bodies(alone) == [unseen] * u
    assert unseen not in bodies(among_others)[:-1]


@MEMBERS
@DEVICES
def test_inputs_are_not_mutated(u: int, device: str) -> None:
    examples, prior = Examples.pad(some_members(u)), some_prior()
    before = copy.deepcopy((examples, prior))

    solve_heads(examples, prior, device)

    for now, then in zip((examples, prior), before, strict=True):
        for field in fields(now):
            np.testing.assert_array_equal(getattr(now, field.name), getattr(then, field.name))


@MEMBERS
@DEVICES
def test_same_seed_same_heads(u: int, device: str) -> None:
    first, second = (solve_heads(Examples.pad(some_members(u)), some_prior(), device)[0] for _ in range(2))

    assert bodies(first) == bodies(second)
    assert bodies(first) != bodies(
        solve_heads(Examples.pad(some_members(u, seed=2)), some_prior(), device)[0]
    )


@MEMBERS
@DEVICES
def test_bytes_round_trip(u: int, device: str) -> None:
    bank, _ = solve_heads(Examples.pad(some_members(u)), some_prior(), device)

    read = [Head.from_bytes(body, feature_id="f" * 32, dim=DIM) for body in bodies(bank)]

    again = HeadBank.stack(read)
    assert bodies(again) == bodies(bank)
    assert (again.feature_id, again.prior_id) == (bank.feature_id, bank.prior_id)
    features = np.random.default_rng(6).normal(size=(u, 3, DIM)).astype(np.float32)
    one_by_one = np.array([head.score(rows) for head, rows in zip(read, features, strict=True)])
    np.testing.assert_allclose(bank.scores(features), one_by_one, rtol=1e-5, atol=1e-5)


@MEMBERS
@DEVICES
def test_dtype_and_device_kept(u: int, device: str) -> None:
    bank, report = solve_heads(Examples.pad(some_members(u)), some_prior(), device)

    assert report.device == device
    assert (bank.weights.dtype, bank.biases.dtype) == (np.float16, np.float16)
    assert bank.scores(np.zeros((u, 1, DIM), np.float32)).dtype == np.float32


@MEMBERS
@DEVICES
def test_a_positive_label_raises_its_score(u: int, device: str) -> None:
    members = some_members(u)
    new = np.random.default_rng(8).normal(size=(1, DIM)).astype(np.float32)
    one = np.ones(1, np.float32)
    liked = [(np.vstack([X, new]), np.append(y, one), np.append(w, one)) for X, y, w in members]
    disliked = [(np.vstack([X, new]), np.append(y, 0 * one), np.append(w, one)) for X, y, w in members]

    scores = [
        solve_heads(Examples.pad(case), some_prior(), device)[0].scores(np.repeat(new[None], u, axis=0))[:, 0]
        for case in (disliked, members, liked)
    ]

    assert (scores[0] < scores[1]).all()
    assert (scores[1] < scores[2]).all()


@MEMBERS
def test_forgetting_a_label_is_exact(u: int) -> None:
    """There is no optimiser state and no warm start, so a removed label leaves no trace."""
    members = some_members(u)
    prior = some_prior()
    without = bodies(solve_heads(Examples.pad(members), prior, "cpu")[0])
    X, y, w = members[0]
    more = [(np.vstack([X, X[:1]]), np.append(y, 1 - y[:1]), np.append(w, w[:1])), *members[1:]]

    with_it = bodies(solve_heads(Examples.pad(more), prior, "cpu")[0])

    assert with_it[0] != without[0]
    assert with_it[1:] == without[1:]
    assert bodies(solve_heads(Examples.pad(members), prior, "cpu")[0]) == without


def test_chunks_have_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = Examples.pad(some_members(200))
    whole = bodies(solve_heads(examples, some_prior(), "cpu")[0])

    monkeypatch.setattr(chunk, "CHUNK_FLOATS", 40_000)

    assert bodies(solve_heads(examples, some_prior(), "cpu")[0]) == whole


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory in use, measured at the innermost step, stays within one chunk for any number of members."""
    seen: list[int] = []

    def watched(K, m, y, w, *, lanes):
        seen.append(3 * K.numel())
        return newton_dual(K, m, y, w, lanes=lanes)

    rng = np.random.default_rng(0)
    u, n = 1000, 30
    examples = Examples(
        rng.normal(size=(u, n, DIM)).astype(np.float32),
        rng.integers(0, 2, size=(u, n)).astype(np.float32),
        np.ones((u, n), np.float32),
        np.ones((u, n), bool),
    )
    monkeypatch.setattr(chunk, "newton_dual", watched)
    monkeypatch.setattr(chunk, "CHUNK_FLOATS", 2**18)
    tracemalloc.start()

    solve_heads(examples, some_prior(), "cpu")

    _, peak = tracemalloc.get_traced_memory()  # NumPy's part: the result and one chunk
    tracemalloc.stop()
    assert len(seen) > 10
    assert max(seen) <= 2**18
    assert peak < 2**20


def test_a_pair_moves_the_taste_and_leaves_the_threshold() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(2, DIM)).astype(np.float32)
    one = np.ones((1, 1), np.float32)
    examples = Examples((first - second)[None, None], one, one, one > 0, one > 0)
    prior = some_prior()

    bank, _ = solve_heads(examples, prior, "cpu")

    before, after = prior.head(), bank.head(0)
    pair = np.stack([first, second])
    gap = [float(np.diff(head.score(pair)[::-1])[0]) for head in (before, after)]
    assert gap[1] > gap[0]
    assert after.bias == before.bias


@pytest.mark.parametrize(
    "broken",
    [
        {"y": np.full((1, 2), 1.5, np.float32)},
        {"weight": np.zeros((1, 2), np.float32)},
        {"weight": np.full((1, 2), np.inf, np.float32)},
        {"X": np.full((1, 2, DIM), np.nan, np.float32)},
        {"X": np.zeros((1, 2, DIM + 1), np.float32)},
    ],
)
def test_bad_examples_are_refused(broken: dict[str, np.ndarray]) -> None:
    good = Examples(
        *(np.ones(shape, np.float32) for shape in [(1, 2, DIM), (1, 2), (1, 2)]), np.ones((1, 2), bool)
    )

    with pytest.raises(ValueError, match="expected"):
        solve_heads(replace(good, **broken), some_prior(), "cpu")


def test_a_head_takes_less_than_two_kilobytes() -> None:
    """The bytes stored, and read for a reply, at the size of the real features under a prior of full rank."""
    rng = np.random.default_rng(10)
    factor = (rng.normal(size=(412, 32)) / 8).astype(np.float32)
    prior = replace(some_prior(dim=411), variance=np.zeros(411, np.float32), factor=factor)

    bank, _ = solve_heads(Examples.pad(some_members(2, dim=411)), prior, "cpu")

    assert max(map(len, bodies(bank))) <= 2048
