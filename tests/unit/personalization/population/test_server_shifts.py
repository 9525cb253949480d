"""Servers whose members share a taste get a shift, other servers do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.heads.heads import Prior
from personalization.population.fit_prior import fit_prior
from personalization.population.pooled import Pool
from personalization.population.server_shifts import learn_shifts
from personalization.score_quality import concordance
from personalization.sharing import Owner
from personalization.solving.training import Examples, solve_heads

DIM = 8
NORTH, SOUTH, EAST, WEST = (name * 16 for name in (b"n", b"s", b"e", b"w"))
STARTER = Prior(np.zeros(DIM, np.float32), np.full(DIM, 0.5, np.float32), 0.0, 4.0, "f" * 32)
TASTE = np.array([1.2, -1.2, 0, 0, 0, 0, 0, 0])


def people(rng: np.random.Generator, n: int, taste: np.ndarray, n_labels: int = 12):
    """Members around one taste: (features, labels) of each, and their true weights."""
    made = []
    for _ in range(n):
        own = taste + 0.7 * rng.normal(size=DIM)
        X = rng.normal(size=(n_labels, DIM)).astype(np.float32)
        y = (rng.random(n_labels) < 1 / (1 + np.exp(-X @ own))).astype(np.float32)
        made.append((X, y, own))
    return made


def population(servers: dict[bytes, list]) -> tuple[Pool, list[Owner]]:
    members = [(guild, member) for guild, some in servers.items() for member in some]
    sizes = [len(y) for _, (_, y, _) in members]
    return Pool(
        np.concatenate([X for _, (X, _, _) in members]),
        np.concatenate([y for _, (_, y, _) in members]),
        np.ones(sum(sizes), np.float32),
        np.repeat(np.arange(len(members)), sizes),
    ), [Owner(server=guild) for guild, _ in members]


def learnt(servers: dict[bytes, list], *, min_members: int = 20) -> Prior:
    pool, owners = population(servers)
    prior = fit_prior(pool, STARTER, member_cap=20.0, device="cpu")
    shifts = learn_shifts(pool, owners, prior, member_cap=20.0, min_members=min_members)
    return replace(prior, shifts=shifts)


def opposite(rng: np.random.Generator, n: int = 40) -> dict[bytes, list]:
    return {NORTH: people(rng, n, TASTE), SOUTH: people(rng, n, -TASTE)}


def right(prior: Prior, tested: list, k: int) -> float:
    """Concordance of heads of k labels on new replies."""
    bank, _ = solve_heads(
        Examples.pad([(X[:k], y[:k], np.ones(k, np.float32)) for X, y, _ in tested]), prior, "cpu"
    )
    asked = np.random.default_rng(9).normal(size=(300, DIM)).astype(np.float32)
    found = bank.scores(np.repeat(asked[None], len(tested), axis=0))
    return float(
        np.mean([concordance(s, asked @ own > 0) for s, (_, _, own) in zip(found, tested, strict=True)])
    )


@pytest.mark.parametrize(("k", "gain"), [(0, 0.2), (5, 0.01)])
def test_servers_of_opposite_tastes_get_means_of_their_own_that_help_newcomers(k: int, gain: float) -> None:
    rng = np.random.default_rng(0)
    prior = learnt(opposite(rng))

    assert prior.shifts.keys() == {NORTH, SOUTH}
    for guild, taste in ((NORTH, TASTE), (SOUTH, -TASTE)):
        newcomers = people(rng, 40, taste)
        assert right(prior.around(guild), newcomers, k) > right(prior.around(b""), newcomers, k) + gain


@pytest.mark.slow
def test_one_population_in_four_servers_gets_no_shift() -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        prior = learnt({guild: people(rng, 30, TASTE) for guild in (NORTH, SOUTH, EAST, WEST)})

        assert prior.shifts == {}


@pytest.mark.slow
def test_a_server_of_too_few_members_gets_no_shift() -> None:
    rng = np.random.default_rng(1)
    servers = opposite(rng, 40) | {EAST: people(rng, 19, 2 * TASTE), WEST: people(rng, 1, 2 * TASTE, 200)}

    assert learnt(servers).shifts.keys() == {NORTH, SOUTH}


def test_labels_without_a_pattern_give_no_shift() -> None:
    """Members who like everything, and members who click at random."""
    rng = np.random.default_rng(2)
    pleased = [(X, np.ones_like(y), own) for X, y, own in people(rng, 25, TASTE)]
    random = [(X, rng.permutation(y), own) for X, y, own in people(rng, 25, TASTE)]

    shifts = learnt({NORTH: pleased, SOUTH: random, EAST: people(rng, 25, TASTE)}).shifts

    assert NORTH not in shifts
    assert SOUTH not in shifts


@pytest.mark.slow
def test_order_of_members_has_no_effect() -> None:
    servers = opposite(np.random.default_rng(3), 25)
    turned = {guild: some[::-1] for guild, some in reversed(servers.items())}

    assert learnt(servers).to_bytes() == learnt(turned).to_bytes()


def test_a_shift_is_near_what_the_server_differs_in() -> None:
    prior = learnt(opposite(np.random.default_rng(4), 60))

    moved = prior.around(NORTH).mean - prior.mean

    assert moved @ TASTE / np.linalg.norm(moved) / np.linalg.norm(TASTE) > 0.9
    assert 0.3 < np.linalg.norm(moved) / np.linalg.norm(TASTE) < 1.2


def test_a_prior_moved_to_a_server_keeps_its_id_and_carries_nothing_of_other_servers() -> None:
    prior = learnt(opposite(np.random.default_rng(5), 25))

    moved, unmoved = prior.around(NORTH), prior.around(b"x" * 16)

    assert moved.prior_id == unmoved.prior_id == prior.prior_id
    assert moved.shifts == unmoved.shifts == {}
    np.testing.assert_array_equal(unmoved.mean, prior.mean)
    assert not np.allclose(moved.mean, prior.mean)
    np.testing.assert_array_equal(moved.factor, prior.factor)
