"""Properties that every way of solving heads must have: a named list, for several u and devices.

A new head type is run through the same list; a property that does not hold for it is opted out visibly.
"""

from __future__ import annotations

import copy
import tracemalloc
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from personalization.heads.heads import Head, HeadBank, Prior
from personalization.population.fit_prior import Pool, fit_prior
from personalization.population.pooled import Pooled, teachers
from personalization.solving import member_chunk as chunk
from personalization.solving import newton
from personalization.solving.newton import newton_dual, newton_primal
from personalization.solving.training import Examples, solve_heads
from tests.reference import map_head

DIM = 12
MEMBERS = pytest.mark.parametrize("u", [1, 2, 7])
DEVICES = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")],
        ),
    ],
)


def some_prior(seed: int = 0, dim: int = DIM) -> Prior:
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=dim).astype(np.float16).astype(np.float32)
    variance = rng.uniform(0.3, 2.0, size=dim).astype(np.float32)
    return Prior(mean, variance, 0.25, 4.0, "f" * 32)


def some_members(u: int, seed: int = 1, dim: int = DIM):
    """Members of different sizes with graded labels: (features, values, weights) each."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 15, size=u)]
    return [
        (
            rng.normal(size=(n, dim)).astype(np.float32),
            rng.choice([0.0, 0.25, 0.5, 1.0], size=n).astype(np.float32),
            rng.uniform(0.2, 2.0, size=n).astype(np.float32),
        )
        for n in sizes
    ]


def assert_same_heads(found: np.ndarray, exact: np.ndarray, message: str) -> None:
    """Equal up to the last digit that float16 keeps, where float32 arithmetic may round the other way."""
    exact = np.asarray(exact, np.float64)
    far = np.abs(found.astype(np.float64) - exact) - np.spacing(np.abs(exact).astype(np.float16))
    assert far.max() <= 1e-6, f"{message}: {found} is not {exact}"


def bodies(bank: HeadBank) -> list[bytes]:
    return [bank.head(i).to_bytes() for i in range(len(bank))]


@MEMBERS
@DEVICES
def test_batched_equals_one_by_one(u: int, device: str) -> None:
    members = some_members(u)

    together, _ = solve_heads(Examples.pad(members), some_prior(), device)

    alone = [solve_heads(Examples.pad([member]), some_prior(), device)[0] for member in members]
    assert bodies(together) == [bodies(bank)[0] for bank in alone]


@pytest.mark.parametrize("kind", ["diagonal", "factor", "both"])
def test_company_has_no_effect_at_full_size(kind: str) -> None:
    """Many members of all sizes, some alike: everybody's bytes are those of the member solved alone."""
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


def test_newton_converges_to_the_reference_to_nine_digits() -> None:
    (X, y, weight), prior = some_members(1, seed=5)[0], some_prior()
    w, b = map_head(X, y, weight, prior.mean, prior.variance, prior.bias_mean, prior.bias_variance)
    rows = torch.from_numpy(X).double()
    K = ((rows * torch.from_numpy(prior.variance)) @ rows.T + prior.bias_variance)[None]
    m = (rows @ torch.from_numpy(prior.mean).double() + prior.bias_mean)[None]

    a, _, unsolved = newton_dual(
        K, m, torch.from_numpy(y).double()[None], torch.from_numpy(weight).double()[None]
    )

    solved = prior.mean + prior.variance * (a[0].numpy() @ X.astype(float))
    np.testing.assert_allclose(solved, w, atol=1e-9)
    np.testing.assert_allclose(prior.bias_mean + prior.bias_variance * a.sum().item(), b, atol=1e-9)
    assert unsolved == 0


@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_newton_always_converges(scale: float) -> None:
    """Contradictory labels, wide features, a start that is surely wrong: plain Newton would overshoot."""
    rng = np.random.default_rng(3)
    X = (scale * rng.normal(size=(3, 25, DIM))).astype(np.float32)
    y = rng.integers(0, 2, size=(3, 25)).astype(np.float32)
    examples = Examples(X, y, np.full((3, 25), 5, np.float32), np.ones((3, 25), bool))
    prior = replace(some_prior(), mean=np.full(DIM, 20, np.float32))

    _, report = solve_heads(examples, prior, "cpu")

    assert report.n_unsolved == 0
    assert report.n_steps < newton.MAX_STEPS


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
    """No optimiser state, no warm start: what was taken back leaves no trace."""
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
    """What is held at once, seen at the innermost step, stays within the chunk however many there are."""
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


@DEVICES
def test_the_pooled_mean_matches_reference(device: str) -> None:
    """The prior's first step, one regression over everybody, against the slow obvious one."""
    members, starter = some_members(9), some_prior()
    pool = pool_of(members)
    pooled = Pooled.of(pool, teachers(pool, 1e9), device, balance=0.0)
    variance = np.append(starter.variance, starter.bias_variance).astype(np.float64)

    theta = pooled.solve(np.append(starter.mean, starter.bias_mean).astype(np.float64), 1 / variance)

    w, b = map_head(
        pool.X, pool.y, pool.weight, starter.mean, starter.variance, starter.bias_mean, starter.bias_variance
    )
    np.testing.assert_allclose(theta, np.append(w, b), atol=1e-5)


def test_prior_finds_the_direction_in_which_members_differ() -> None:
    """Sixty members who disagree about one thing only: that is the direction that is learnt."""
    rng = np.random.default_rng(3)
    taste = np.zeros(DIM)
    taste[2] = 1.0
    members = []
    for own in rng.choice([-3.0, 3.0], size=60):
        X = rng.normal(size=(30, DIM)).astype(np.float32)
        y = (rng.random(30) < 1 / (1 + np.exp(-own * (X @ taste)))).astype(np.float32)
        members.append((X, y, np.ones(30, np.float32)))

    prior = fit_prior(pool_of(members), some_prior(), member_cap=1e9, device="cpu")

    covariance = prior.factor[:-1] @ prior.factor[:-1].T
    found = np.linalg.eigh(covariance)[1][:, -1]
    assert abs(found @ taste) > 0.95
    others = np.delete(np.diag(covariance), 2)
    assert covariance[2, 2] > 10 * others.max()


def test_a_learnt_covariance_moves_a_head_where_members_differ() -> None:
    """A prior that knows the one direction in which members differ moves a head along it, and only there."""
    rng = np.random.default_rng(4)
    factor = np.zeros((DIM + 1, 1), np.float32)
    factor[2] = 2.0
    learnt = replace(some_prior(), variance=np.zeros(DIM, np.float32), factor=factor)
    X = rng.normal(size=(1, 4, DIM)).astype(np.float32)
    examples = Examples(X, np.ones((1, 4), np.float32), np.ones((1, 4), np.float32), np.ones((1, 4), bool))

    moved = solve_heads(examples, learnt, "cpu")[0].weights[0].astype(np.float32) - learnt.mean

    assert abs(moved[2]) > 0.05
    np.testing.assert_allclose(np.delete(moved, 2), 0.0, atol=2e-3)


@DEVICES
def test_the_dual_and_the_primal_solve_agree(device: str) -> None:
    rng = np.random.default_rng(5)
    C = torch.from_numpy(rng.normal(size=(7, 9, 4))).to(device)
    m, y = (
        torch.from_numpy(rng.normal(size=(7, 9))).to(device),
        torch.from_numpy(rng.random((7, 9))).to(device),
    )
    w = torch.from_numpy(rng.uniform(0.1, 2.0, size=(7, 9))).to(device)

    a, _, unsolved_dual = newton_dual(C @ C.transpose(1, 2), m, y, w)
    z, _, unsolved_primal = newton_primal(C, m, y, w)

    assert unsolved_dual == unsolved_primal == 0
    torch.testing.assert_close((C.transpose(1, 2) @ a[:, :, None])[:, :, 0], z, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("tolerance", [None, 1e-5])
def test_where_a_solve_begins_changes_its_steps_and_not_its_solution(tolerance: float | None) -> None:
    rng = np.random.default_rng(5)
    C, start = (torch.from_numpy(rng.normal(size=shape)) for shape in ((7, 9, 4), (7, 4)))
    m, y, w = (torch.from_numpy(rng.random((7, 9))) for _ in range(3))
    P = torch.from_numpy(np.diag([0.5, 1.0, 2.0, 4.0]))
    z, cold, _ = newton_primal(C, m, y, w, precision=P)

    for begin in (start, z):
        found, steps, unsolved = newton_primal(C, m, y, w, precision=P, start=begin, tolerance=tolerance)
        torch.testing.assert_close(found, z, atol=1e-4 if tolerance else 1e-9, rtol=0)
        assert unsolved == 0
    assert steps < cold


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


def test_prior_does_not_depend_on_the_order_of_members() -> None:
    members = some_members(9)

    forwards, backwards = (
        fit_prior(pool_of(order), some_prior(), member_cap=3.0, device="cpu")
        for order in (members, members[::-1])
    )

    assert forwards.prior_id == backwards.prior_id


def test_no_member_weighs_more_than_the_cap_in_the_prior() -> None:
    """A member who repeats the same labels a hundred times moves the prior no further than the cap allows."""
    members = some_members(9)
    X, y, w = members[0]
    loud = [(np.repeat(X, 100, axis=0), np.repeat(y, 100), np.repeat(w, 100)), *members[1:]]
    cap = float(w.sum())

    capped = fit_prior(pool_of(loud), some_prior(), member_cap=cap, device="cpu")

    others = [(X, y, w * min(1.0, cap / w.sum())) for X, y, w in members]
    np.testing.assert_allclose(
        capped.mean, fit_prior(pool_of(others), some_prior(), member_cap=1e9, device="cpu").mean, atol=2e-3
    )
    uncapped = fit_prior(pool_of(loud), some_prior(), member_cap=1e9, device="cpu")
    assert np.abs(uncapped.mean - capped.mean).max() > 0.02  # ten times the tolerance above


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


def pool_of(members) -> Pool:
    X, y, w = (np.concatenate(parts) for parts in zip(*members, strict=True))
    return Pool(X, y, w, np.repeat(np.arange(len(members)), [len(y) for _, y, _ in members]))


def test_a_head_takes_less_than_two_kilobytes() -> None:
    """At the size of the real features, under a prior of full rank: what is stored, and read for a reply."""
    rng = np.random.default_rng(10)
    factor = (rng.normal(size=(412, 32)) / 8).astype(np.float32)
    prior = replace(some_prior(dim=411), variance=np.zeros(411, np.float32), factor=factor)

    bank, _ = solve_heads(Examples.pad(some_members(2, dim=411)), prior, "cpu")

    assert max(map(len, bodies(bank))) <= 2048
