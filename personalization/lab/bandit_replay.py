"""Bandit replay: the value of policies over 40 simulated rounds in which every label is known.

On a dense set, in which members judged nearly every reply, the bot can be simulated. Each round offers four
replies that the member has not seen; the policy posts one and learns its label. All policies get the same
members and the same random offers, and learn only from their own posts. The population has judged the
replies, as a bot posts to many members, but it does not include the tested members. Because the truth is
known, the replay also checks the off-policy estimates that an operator would see.

Called by ``simpatico evaluate --bandit``; imports no storage.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from personalization.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from personalization.heads.heads import Prior
from personalization.heads.spread import score_covariance
from personalization.insight.off_policy import Log, value_of
from personalization.lab.baselines import MEMBER_CAP, pool_of, pooled_prior
from personalization.lab.datasets import Dataset, trust_in
from personalization.population.fit_prior import DEFAULTS, fit_prior
from personalization.ranking.policy import Explore, Greedy, Policy, Thompson, best_of, choose, policy_of
from personalization.score_quality import clustered_mean
from personalization.settings import Device, LearningSettings, PriorSettings
from personalization.solving.gate import learn_heads
from personalization.solving.posterior import exact_score_covariance
from personalization.solving.training import Examples, solve_heads

ROUNDS, CANDIDATES, MAX_MEMBERS = 40, 4, 300
LIKED = 0.5
"""Labels above this value are likes."""
ALONE_VARIANCE = 1.0
"""Prior variance of weights and intercept for a head that is solved without a population."""
RIVALS = {
    "simpatico-greedy": Greedy(),
    "simpatico-epsilon": Explore(Greedy(), 0.1),
    "simpatico-ucb": policy_of(LearningSettings(policy="ucb")),
    "simpatico-thompson-1": Explore(Thompson(1.0), 0.02),
}
"""Other policies that use the heads of the row ``simpatico``."""
POLICIES = ("random", "global", "independent", "simpatico", "oracle", *RIVALS)


@dataclass(frozen=True, eq=False, slots=True)
class World:
    """Tested members, their labels, and the random offers of every round.

    Attributes:
        users: Indices of the members, ``u``.
        labels: Label of every item, ``u x items`` float32; NaN if the member gave none.
        keys: Random keys, ``rounds x u x items``. A round offers the four unposted items with the smallest
            keys.
        trust: Weight of a label, in thumbs.
    """

    users: IntArray
    labels: FloatArray
    keys: FloatArray
    trust: float = 1.0

    @property
    def n_rounds(self) -> int:
        """Number of rounds."""
        return len(self.keys)


@dataclass(frozen=True, eq=False, slots=True)
class Play:
    """Course of one policy: offered items and propensities ``u x rounds x k``, and choices ``u x rounds``.

    ``chosen`` is an index into the offered items of the round.
    """

    offered: IntArray
    propensities: DoubleArray
    chosen: IntArray

    @property
    def posted(self) -> IntArray:
        """Items posted, ``u x rounds``."""
        return np.take_along_axis(self.offered, self.chosen[:, :, None], axis=2)[:, :, 0]

    def log(self) -> Log:
        """Convert to the log that an operator would have, ``n = u x rounds`` replies."""
        member = np.zeros_like(self.chosen) + np.arange(len(self.chosen))[:, None]  # (u, rounds)
        return Log(_rows(self.propensities), self.chosen.ravel(), member.ravel())


def replay(
    dataset: Dataset,
    features: FloatArray,
    tested: BoolArray,
    starter: Prior,
    *,
    seeds: int = 3,
    policy: Policy | None = None,
    device: Device = "auto",
    n_embedding: int | None = None,
    settings: PriorSettings = DEFAULTS,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Play all policies. Blocks for minutes.

    Args:
        dataset: Population and tested members together; pointwise and dense.
        features: Of ``dataset.texts``, ``items x d`` float32.
        tested: Whether each user is tested, ``users``.
        starter: Centre of the fit of the population prior.
        seeds: Number of worlds.
        policy: Policy of ``simpatico``; None means the bot's default.
        device: Device on which heads are solved.
        n_embedding: Number of features that are the embedding.
        settings: Settings of simpatico's fit of the prior.
        progress: Called with a line of text after each policy.

    Returns:
        Per policy ``like_rate`` and ``regret`` (likes missed in all rounds) with standard errors; under
        ``estimates`` the off-policy estimates of the global policy, and the truth.

    Raises:
        ValueError: The set has pairs, or no member has enough labels.
    """
    dataset, prior, base = _fitted(
        dataset, features, ~tested, starter, device=device, n_embedding=n_embedding, settings=settings
    )
    progress("fitted the priors")
    tally = _Tally()
    for seed in range(seeds):
        world = make_world(dataset, tested, seed)
        tally.users += world.users.tolist()
        for name in POLICIES:
            played_by = _player(name, features, base, prior, policy, device)
            play = play_through(world, *played_by, np.random.default_rng(seed))
            liked = tally.add(name, world, play)
            if name in ("random", "simpatico"):
                estimate = estimate_global(play, liked, features, base)
                tally.estimates.append({"seed": seed, "log": name, **estimate})
            progress(f"seed {seed}: {name}")
    return tally.result()


def _fitted(
    dataset: Dataset,
    features: FloatArray,
    others: BoolArray,
    starter: Prior,
    *,
    device: Device,
    n_embedding: int | None,
    settings: PriorSettings,
) -> tuple[Dataset, Prior, Prior]:
    """Fit the population's prior and its global head.

    Returns:
        The set with its estimated trust, simpatico's prior, and the global head as a prior.

    Raises:
        ValueError: The set has pairs.
    """
    if dataset.pairwise:
        raise ValueError("expected single labels for a replay, found pairs")
    population = np.flatnonzero(others[dataset.user])
    dataset = replace(dataset, trust=trust_in(dataset, population))
    # No replies are held out: tested members are offered replies that the population has judged.
    pool = replace(pool_of(dataset, features, population), group=None)
    prior = fit_prior(
        pool, starter, member_cap=MEMBER_CAP, device=device, n_embedding=n_embedding, settings=settings
    )
    return dataset, prior, pooled_prior(pool, starter, device=device, n_embedding=n_embedding)


@dataclass(eq=False, slots=True)
class _Tally:
    """Results over all worlds.

    Attributes:
        likes: Share of posted replies that each member liked, by policy.
        missed: Rounds in which each member liked an offered reply but not the posted one, by policy.
        users: The members of all worlds, in the order of those lists.
        estimates: Off-policy estimates of the global policy, with the truth.
    """

    likes: dict[str, list[float]] = field(default_factory=lambda: {name: list[float]() for name in POLICIES})
    missed: dict[str, list[float]] = field(default_factory=lambda: {name: list[float]() for name in POLICIES})
    users: list[int] = field(default_factory=list[int])
    estimates: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def add(self, name: str, world: World, play: Play) -> BoolArray:
        """Count the likes of one play; returns whether each offered item is liked, ``u x rounds x k``."""
        offered = np.take_along_axis(world.labels[:, None, :], play.offered, axis=2)  # (u, rounds, k)
        liked = offered > LIKED
        got = np.take_along_axis(liked, play.chosen[:, :, None], axis=2)[:, :, 0]  # (u, rounds)
        self.likes[name] += got.mean(axis=1).tolist()
        self.missed[name] += (liked.any(axis=2) & ~got).sum(axis=1).tolist()
        return liked

    def result(self) -> dict[str, Any]:
        """Average over members, with standard errors clustered by member."""
        result: dict[str, Any] = {}
        for name in POLICIES:
            rate, rate_se = clustered_mean(self.likes[name], self.users)
            regret, regret_se = clustered_mean(self.missed[name], self.users)
            result[name] = {
                "like_rate": rate,
                "like_rate_se": rate_se,
                "regret": regret,
                "regret_se": regret_se,
            }
        return {**result, "estimates": self.estimates}


def make_world(dataset: Dataset, tested: BoolArray, seed: int) -> World:
    """Create a world of at most 300 tested members with enough labels for four offers in every round.

    Raises:
        ValueError: No member has enough labels.
    """
    rng = np.random.default_rng(seed)
    n_labels = np.bincount(dataset.user, minlength=len(dataset.users))
    able = np.flatnonzero(tested & (n_labels >= ROUNDS + CANDIDATES - 1))
    if not len(able):
        needed = ROUNDS + CANDIDATES - 1
        raise ValueError(f"expected tested members with {needed} labels, found at most {n_labels.max()}")
    users = np.sort(rng.permutation(able)[:MAX_MEMBERS])
    place = np.full(len(dataset.users), -1)
    place[users] = np.arange(len(users))
    here = place[dataset.user] >= 0
    labels = np.full((len(users), len(dataset.texts)), np.nan, np.float32)
    labels[place[dataset.user[here]], dataset.item[here, 0]] = dataset.y[here]
    return World(users, labels, rng.random((ROUNDS, *labels.shape), np.float32), dataset.trust)


Player = Callable[[World, IntArray, IntArray], tuple[DoubleArray, "DoubleArray | None"]]
"""Maps the world, posted items ``u x t`` and offered items ``u x k`` to scores ``u x k`` and their covariance
``u x k x k``; a covariance of None means that the scores are exact."""


def play_through(world: World, player: Player, policy: Policy, rng: np.random.Generator) -> Play:
    """Play all rounds for all members in parallel; each head learns only from its own member's posts."""
    u = len(world.labels)
    left = ~np.isnan(world.labels)
    posted = np.zeros((u, 0), np.int64)
    offered: list[IntArray] = []
    chosen: list[IntArray] = []
    propensities: list[DoubleArray] = []
    for keys in world.keys:
        offers = np.argsort(np.where(left, keys, np.inf), axis=1, kind="stable")[:, :CANDIDATES]  # (u, k)
        scores, covariance = player(world, posted, offers)
        if covariance is None:
            covariance = np.zeros((u, CANDIDATES, CANDIDATES))
        choices = [choose(policy, s, c, rng) for s, c in zip(scores, covariance, strict=True)]
        choice = np.array([made.order[0] for made in choices])  # (u,)
        item = offers[np.arange(u), choice]
        left[np.arange(u), item] = False
        posted = np.hstack([posted, item[:, None]])
        offered.append(offers)
        chosen.append(choice)
        propensities.append(np.array([made.propensities for made in choices]))
    return Play(np.stack(offered, axis=1), np.stack(propensities, axis=1), np.stack(chosen, axis=1))


def _player(
    name: str, features: FloatArray, base: Prior, prior: Prior, policy: Policy | None, device: Device
) -> tuple[Player, Policy]:
    """Look up the scoring function and the policy of a name in :data:`POLICIES`."""

    def oracle(world: World, posted: IntArray, offers: IntArray) -> tuple[DoubleArray, DoubleArray | None]:
        return np.take_along_axis(world.labels, offers, axis=1).astype(np.float64), None

    def one_for_all(
        world: World, posted: IntArray, offers: IntArray
    ) -> tuple[DoubleArray, DoubleArray | None]:
        return base.head().score(features)[offers].astype(np.float64), None

    zero = np.zeros_like(prior.mean)
    alone = Prior(zero, zero + np.float32(ALONE_VARIANCE), 0.0, ALONE_VARIANCE, prior.feature_id)

    def independent(
        world: World, posted: IntArray, offers: IntArray
    ) -> tuple[DoubleArray, DoubleArray | None]:
        examples = seen(world, posted, features)
        bank, _ = solve_heads(examples, alone, device)
        covariance = exact_score_covariance(examples, features[offers], alone, device)  # (u, k, k)
        return bank.scores(features[offers]).astype(np.float64), covariance

    def simpatico(world: World, posted: IntArray, offers: IntArray) -> tuple[DoubleArray, DoubleArray | None]:
        bank, _ = learn_heads(seen(world, posted, features), prior, device)
        spreads = [bank.head(u).spread for u in range(len(bank))]
        covariance = [
            score_covariance(features[own], prior, spread)
            for own, spread in zip(offers, spreads, strict=True)
        ]
        return bank.scores(features[offers]).astype(np.float64), np.stack(covariance)

    chance = Explore(Greedy(), 1.0)
    default = policy_of(LearningSettings()) if policy is None else policy
    given: dict[str, tuple[Player, Policy]] = {
        "random": (one_for_all, chance),
        "global": (one_for_all, Greedy()),
        "independent": (independent, Thompson(1.0)),
        "oracle": (oracle, Greedy()),
    }
    return given.get(name) or (simpatico, RIVALS.get(name, default))


def seen(world: World, posted: IntArray, features: FloatArray) -> Examples:
    """Build the examples of the items posted so far, with the members' labels."""
    y = np.take_along_axis(world.labels, posted, axis=1)  # (u, t)
    return Examples(features[posted], y, np.full_like(y, world.trust), np.ones(y.shape, np.bool_))


def estimate_global(play: Play, liked: BoolArray, features: FloatArray, base: Prior) -> dict[str, Any]:
    """Estimate the value of the global head's policy from another policy's log, next to the truth.

    Args:
        play: Course of the policy that ran.
        liked: Whether each offered item is liked, ``u x rounds x k``.
        features: Features of the items, ``items x d``.
        base: The global head, as a prior.
    """
    scores = base.head().score(features)[play.offered]  # (u, rounds, k)
    target = best_of(scores.astype(np.float64))
    predicted = base.probability(scores, 0).astype(np.float64)
    found = value_of(
        play.log(),
        np.take_along_axis(liked, play.chosen[:, :, None], axis=2).astype(np.float64).ravel(),
        _rows(target),
        _rows(predicted),
    )
    return {"truth": float((target * liked).sum(axis=2).mean()), **asdict(found)}


def _rows(values: DoubleArray) -> DoubleArray:
    """Flatten members and rounds: ``u x rounds x k`` to ``n x k``."""
    return values.reshape(-1, values.shape[2])
