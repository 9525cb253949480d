"""What a policy earns: a replay of 40 rounds in which every answer is known.

On a dense set, where members judged nearly everything, the bot can be played through: each round it has four
replies that this member has not been shown, posts one, and learns whether they liked it. All policies meet
the same members with the same chance, and learn only from what they posted. Replies are known to the
population here (a bot posts to many members), the tested members are not. Because the truth is known, the
off-policy estimates that an operator would see are checked against it as well.

Used by ``simpatico evaluate --bandit``; imports no storage.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
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
"""A label above it is a like."""
ALONE_VARIANCE = 1.0
"""Of weights and intercept, for a member who learns alone."""
RIVALS = {
    "simpatico-greedy": Greedy(),
    "simpatico-epsilon": Explore(Greedy(), 0.1),
    "simpatico-ucb": policy_of(LearningSettings(policy="ucb")),
    "simpatico-thompson-1": Explore(Thompson(1.0), 0.02),
}
"""What else simpatico's heads could be played by."""
POLICIES = ("random", "global", "independent", "simpatico", "oracle", *RIVALS)


@dataclass(frozen=True, eq=False, slots=True)
class World:
    """Tested members and what they think.

    Attributes:
        users: ``u``.
        labels: Of every item, ``u x items`` float32; NaN where the member gave none.
        keys: Chance of each item to be offered: the smallest four of those not posted yet are,
            ``rounds x u x items``.
        trust: What a label is worth, in thumbs.
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
    """What a policy did: offered items, propensities ``u x rounds x k``, and what it posted ``u x rounds``.

    ``chosen`` counts within the offered ones.
    """

    offered: IntArray
    propensities: DoubleArray
    chosen: IntArray

    @property
    def posted(self) -> IntArray:
        """Items posted, ``u x rounds``."""
        return np.take_along_axis(self.offered, self.chosen[:, :, None], axis=2)[:, :, 0]

    def log(self) -> Log:
        """Give what an operator would have of it, ``n = u x rounds`` replies."""
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
        tested: Which users are tested, by user.
        starter: Where the population prior starts.
        seeds: Number of worlds.
        policy: What ``simpatico`` plays by; None: the bot's default.
        device: Where heads are solved.
        n_embedding: How many features are the embedding.
        settings: How simpatico fits its prior.
        progress: Told after each policy.

    Returns:
        For each policy ``like_rate`` and ``regret`` (likes missed in all rounds) with standard errors; under
        ``estimates`` what logs say about the global policy, and the truth.

    Raises:
        ValueError: Pairs, or nobody judged enough for a replay.
    """
    if dataset.pairwise:
        raise ValueError("expected single labels for a replay, found pairs")
    population = np.flatnonzero(~tested[dataset.user])
    dataset = replace(dataset, trust=trust_in(dataset, population))
    # Nobody's replies are held out here: the tested members meet replies that others have judged.
    pool = replace(pool_of(dataset, features, population), group=None)
    prior = fit_prior(
        pool, starter, member_cap=MEMBER_CAP, device=device, n_embedding=n_embedding, settings=settings
    )
    base = pooled_prior(pool, starter, device=device, n_embedding=n_embedding)
    progress("fitted the priors")
    likes: dict[str, list[float]] = {name: [] for name in POLICIES}
    missed: dict[str, list[float]] = {name: [] for name in POLICIES}
    users: list[int] = []
    estimates: list[dict[str, Any]] = []
    for seed in range(seeds):
        world = make_world(dataset, tested, seed)
        users += [int(user) for user in world.users]
        for name in POLICIES:
            player, plays_by = _player(name, features, base, prior, policy, device)
            play = play_through(world, player, plays_by, np.random.default_rng(seed))
            offered = np.take_along_axis(world.labels[:, None, :], play.offered, axis=2)  # (u, rounds, k)
            liked = offered > LIKED
            got = np.take_along_axis(liked, play.chosen[:, :, None], axis=2)[:, :, 0]  # (u, rounds)
            likes[name] += got.mean(axis=1).tolist()
            missed[name] += (liked.any(axis=2) & ~got).sum(axis=1).tolist()
            if name in ("random", "simpatico"):
                estimates.append({"seed": seed, "log": name, **estimate_global(play, liked, features, base)})
            progress(f"seed {seed}: {name}")
    result: dict[str, Any] = {}
    for name in POLICIES:
        (rate, rate_se), (regret, regret_se) = (
            clustered_mean(values[name], users) for values in (likes, missed)
        )
        result[name] = {"like_rate": rate, "like_rate_se": rate_se, "regret": regret, "regret_se": regret_se}
    return {**result, "estimates": estimates}


def make_world(dataset: Dataset, tested: BoolArray, seed: int) -> World:
    """Take tested members who judged enough for every round to offer four, at most 300.

    Raises:
        ValueError: Nobody judged enough.
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
"""World, items posted so far ``u x t``, items offered ``u x k`` -> scores ``u x k``, and their covariance
``u x k x k``, or None where nothing is left open."""


def play_through(world: World, player: Player, policy: Policy, rng: np.random.Generator) -> Play:
    """Play all rounds with all members at once; each learns only from what was posted to them."""
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
    """Who scores, and what it plays by."""

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
    """What members were posted so far, and what they thought of it."""
    y = np.take_along_axis(world.labels, posted, axis=1)  # (u, t)
    return Examples(features[posted], y, np.full_like(y, world.trust), np.ones(y.shape, np.bool_))


def estimate_global(play: Play, liked: BoolArray, features: FloatArray, base: Prior) -> dict[str, Any]:
    """Estimate, from what a policy logged, what the global head's policy earns; and tell the truth.

    Args:
        play: The log.
        liked: Whether each offered item is liked, ``u x rounds x k``.
        features: ``items x d``.
        base: The global head.
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
    """Put all rounds of all members under one another: ``u x rounds x k`` -> ``n x k``."""
    return values.reshape(-1, values.shape[2])
