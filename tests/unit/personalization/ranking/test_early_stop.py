"""The early stop: its forecast, its bound on the loss, exact propensities, and who waits in any case."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from personalization.errors import RankingFailed
from personalization.heads.heads import Head, starter_prior
from personalization.ranking.early_stop import COMPARED, LEAST_LABELS, EarlyStop, Ending, Waiting
from personalization.ranking.policy import Explore, Thompson, choose
from personalization.ranking.ranker import Ranker
from personalization.ranking.score_forecast import LEAST_SEEN, MEMORY, Forecast, RecentCandidates
from personalization.settings import LearningSettings
from storage.records import EARLY, FALLBACK, WAITED, HeadRecord, MemberId, Seat
from tests.unit.storage.given import IMPRESSION

STYLES = ("a", "b", "c", "d")
SEATS = tuple(Seat(place, style) for place, style in enumerate(STYLES))
BOUND = 0.01
ALICE = MemberId(b"a" * 16)


def seats(*styles: str) -> list[Seat]:
    return [Seat(place, style) for place, style in enumerate(styles)]


def of_styles(means, counts, within: float, between: float) -> Forecast:
    """Return a forecast in which nothing but styles has an effect."""
    effects = {("style", style): float(mean) for style, mean in means.items()}
    return Forecast(counts, effects, np.zeros((len(effects), len(effects))), within, between)


def chance(score):
    return 1 / (1 + np.exp(-score))


class Members:
    """Members whose heads know their taste, and replies of four styles; a reply has three features."""

    def __init__(self, seed: int, n_members: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.sounds = self.rng.normal(size=(len(STYLES), 3)) * 0.7
        self.heads = [
            Head(self.rng.normal(size=3).astype(np.float16), 0.0, "f", "p") for _ in range(n_members)
        ]
        self.recent = RecentCandidates()
        for _ in range(MEMORY):
            self.recent.observe(SEATS, self.reply(), np.zeros(4, np.float32))

    def reply(self) -> np.ndarray:
        """Draw the features of one candidate per style, ``4 x 3``: style, message and chance."""
        of_message = self.rng.normal(size=3) * 0.3
        return (self.sounds + of_message + self.rng.normal(size=(4, 3)) * 0.4).astype(np.float32)


def waiting(forecast: Forecast, scores, bound: float = BOUND, *, waits: bool = False) -> Waiting:
    """Return the wait for candidates whose texts are their indices."""

    async def scored(texts, fits):
        return [scores[int(text)] for text in texts]

    return Waiting(forecast, scored, bound, waits=waits, count=lambda ending: None)


def n_awaited(one: Waiting, order) -> int:
    """Return how many candidates are awaited if they arrive in this order."""

    async def arrive() -> int:
        for n in range(1, len(order)):
            here, out = order[:n], order[n:]
            enough = await one.is_enough(
                [str(i) for i in here], [SEATS[i] for i in here], [SEATS[i] for i in out], [-1.0] * n
            )
            if enough and one.stop():
                return n
        return len(order)

    with pytest.raises(StopIteration) as ended:  # nothing in it waits, and a loop each would be slow
        arrive().send(None)
    return ended.value.value


def losses(members: Members, bound: float) -> tuple[np.ndarray, float]:
    """Return the loss in the chance of being liked for each reply that stopped, and the share of them."""
    found, n = [], 0
    for head in members.heads:
        forecast = members.recent.forecast(head)
        assert forecast is not None
        for _ in range(8):
            scores, order = head.score(members.reply()), members.rng.permutation(4)
            kept = order[: n_awaited(waiting(forecast, scores, bound), order)]
            n += 1
            if len(kept) < 4:
                found.append(chance(scores.max()) - chance(scores[kept].max()))
    return np.array(found), len(found) / n


@pytest.mark.parametrize("seed", range(3))
def test_replies_stop_and_the_loss_stays_below_the_bound(seed):
    found, share = losses(Members(seed, 60), BOUND)

    assert share > 0.2
    assert found.mean() + 2 * found.std() / len(found) ** 0.5 < BOUND


def test_control_without_the_forecast_the_loss_is_above_the_bound():
    found, share = losses(Members(0, 60), np.inf)

    assert share == 1
    assert found.mean() > 3 * BOUND


@pytest.mark.parametrize("seed", range(20))
def test_the_gain_is_that_of_candidates_drawn_from_the_conditional_distribution(seed):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 4)), 4
    mean, within, between = rng.normal(size=k), rng.uniform(0.05, 1), rng.uniform(0, 1)
    means = dict(zip(STYLES, mean, strict=True))
    forecast = of_styles(means, dict.fromkeys(STYLES, 10**9), float(within), float(between))
    cov = within * np.eye(k) + between
    scores = rng.multivariate_normal(mean, cov)[:n]
    weights = np.linalg.solve(cov[:n, :n], cov[:n, n:]).T  # (k - n, n)
    expected = mean[n:] + weights @ (scores - mean[:n])
    rest = cov[n:, n:] - weights @ cov[:n, n:]
    draws = rng.multivariate_normal(expected, rest, size=40_000) - scores.max()

    gain = forecast.gain(SEATS[:n], list(scores), SEATS[n:])

    assert gain == pytest.approx(np.maximum(draws, 0).mean(axis=0).sum(), abs=0.03)
    assert gain > np.maximum(draws, 0).max(axis=1).mean() - 0.02, "the sum bounds the best of them"


def test_the_forecast_finds_the_means_and_variances_of_the_scores():
    rng, recent = np.random.default_rng(3), RecentCandidates()
    head = Head(np.ones(1, np.float16), 0.0, "f", "p")
    found = []
    for server in range(60):
        for _ in range(MEMORY):
            scores = np.array([0.0, 1.0, 2.0, 3.0]) + 0.5 * rng.normal() + 0.8 * rng.normal(size=4)
            recent.observe(SEATS, scores[:, None].astype(np.float32), np.zeros(4, np.float32), server)
        found.append(recent.forecast(head, server))
    means = np.mean([[one.effects["style", style] for style in STYLES] for one in found], axis=0)

    assert means == pytest.approx([0, 1, 2, 3], abs=0.1)
    assert np.mean([one.within for one in found]) == pytest.approx(0.64, abs=0.05)
    assert np.mean([one.between for one in found]) == pytest.approx(0.25, abs=0.05)


def drawn_beside_propensities(seed: int, *, peeks: bool) -> tuple[float, float]:
    """Post replies with the early stop; compare how often the first arrival is posted with its propensity.

    Args:
        seed: Seed.
        peeks: Whether the rule knows which candidate the policy will draw, and stops when it is there.

    Returns:
        The difference of the counts, and its standard deviation if the propensities are right.
    """
    members, policy = Members(seed, 40), Explore(Thompson(0.5, n_draws=32), 0.05)
    rng, n_posted, expected, variance, n_early = np.random.default_rng(seed), 0, 0.0, 0.0, 0
    for head in members.heads:
        forecast = members.recent.forecast(head)
        for _ in range(12):
            scores, order = head.score(members.reply()), members.rng.permutation(4)
            cov = 0.2 * np.eye(4)
            n = n_awaited(waiting(forecast, scores, 0.03), order)
            if peeks:
                n = 1 + int(np.flatnonzero(order == choose(policy, scores, cov, rng).order[0])[0])
            kept = order[:n]
            choice = choose(policy, scores[kept], cov[:n, :n], rng)
            posted = choice.order[0]
            if peeks:
                posted = n - 1
            n_early += n < 4
            n_posted += posted == 0
            expected += choice.propensities[0]
            variance += choice.propensities[0] * (1 - choice.propensities[0])
    assert n_early > 100
    return n_posted - expected, variance**0.5


@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_posted_as_often_as_their_propensities_say(seed):
    difference, deviation = drawn_beside_propensities(seed, peeks=False)

    assert abs(difference) < 3 * deviation


def test_control_a_rule_that_knows_the_draw_makes_propensities_wrong():
    difference, deviation = drawn_beside_propensities(0, peeks=True)

    assert abs(difference) > 3 * deviation


@pytest.mark.parametrize("unknown", ["outstanding", "arrived"])
def test_a_style_that_is_not_known_is_waited_for(unknown):
    seen = {"a": 100, "b": LEAST_SEEN - 1}
    forecast = of_styles({"a": 0.0, "b": -9.0}, seen, 0.1, 0.1)

    if unknown == "outstanding":
        assert forecast.gain(seats("a"), [9.0], seats("b")) == np.inf
        assert forecast.gain(seats("a"), [9.0], seats("z")) == np.inf
    else:  # such as an answer of /faq: it counts as the best, and says nothing about the message
        assert forecast.gain(seats("a", "faq"), [0.0, 9.0], seats("a")) < 1e-6


def test_a_reply_for_comparison_waits_is_marked_and_is_judged_once():
    forecast = of_styles({"a": 0.0, "b": 0.0}, {"a": 50, "b": 50}, 0.1, 0.1)
    stopped, compared = waiting(forecast, [9.0] * 4), waiting(forecast, [9.0] * 4, waits=True)

    assert n_awaited(stopped, [0, 1, 0, 1]) == 1
    assert n_awaited(compared, [0, 1, 0, 1]) == 4
    assert stopped.marked(IMPRESSION).policy == EARLY + IMPRESSION.policy
    assert compared.marked(IMPRESSION).policy == WAITED + IMPRESSION.policy
    unranked = replace(IMPRESSION, policy=FALLBACK)
    assert stopped.marked(unranked) == unranked
    assert waiting(forecast, []).marked(IMPRESSION) == IMPRESSION


async def test_a_failed_ranking_means_waiting():
    async def scored(texts, fits):
        raise RankingFailed("expected an encoding, found none")

    forecast = of_styles({"a": 0.0}, {"a": 50}, 0.1, 0.1)
    one = Waiting(forecast, scored, BOUND, waits=False, count=lambda ending: None)

    assert not await one.is_enough(["x"], seats("a"), seats("a"), [-1.0])


def early_of(features, settings=None, *, n_labels: int = 50, share: float = 1.0, n_seen: int = LEAST_SEEN):
    """Return a ranker in which Alice has a head, and the early stop with some recent candidates."""
    settings = settings or LearningSettings()
    weights = np.zeros(features.dim, np.float16)
    head = Head(weights, 0.0, features.feature_id, "p", share, np.zeros(0, np.float16))

    async def load(member_id):
        if member_id != ALICE:
            return None
        return HeadRecord(
            1, n_labels, head.to_bytes(), datetime(2026, 1, 1, tzinfo=UTC), rolled_back=not share
        )

    prior = starter_prior(features, settings)
    ranker = Ranker(features, settings, load, prior, np.random.default_rng(0))
    early = EarlyStop(ranker, settings, np.random.default_rng(0))
    for _ in range(n_seen):
        early.recent.observe(SEATS, np.zeros((4, features.dim), np.float32), np.zeros(4, np.float32))
    return ranker, early


@pytest.mark.parametrize(
    ("member", "how"),
    [
        (None, {}),
        (MemberId(b"b" * 16), {}),
        (ALICE, {"n_labels": LEAST_LABELS - 1}),
        (ALICE, {"share": 0.0}),
        (ALICE, {"n_seen": LEAST_SEEN - 1}),
        (ALICE, {"settings": LearningSettings(early_stop=0)}),
    ],
)
async def test_members_and_servers_that_are_hardly_known_wait(features, member, how):
    ranker, early = early_of(features, **how)
    try:
        assert await early.begin(member, "hello") is None
    finally:
        ranker.close()


async def test_a_member_with_a_head_may_stop_and_one_in_ten_waits_for_comparison(features):
    ranker, early = early_of(features)
    try:
        for _ in range(300):
            one = await early.begin(ALICE, "hello")
            assert one is not None
            one.stop()
        early.recent.clear()
        assert await early.begin(ALICE, "hello") is None, "nothing is left after a member was forgotten"
    finally:
        ranker.close()

    assert early.n_endings[Ending.WAITED] == pytest.approx(300 * COMPARED, abs=16)
    assert sum(early.n_endings.values()) == 300


async def test_the_candidates_that_arrived_are_scored_as_they_are_ranked(features):
    ranker, early = early_of(features, LearningSettings(early_stop=0.25))
    try:
        one = await early.begin(ALICE, "hello there")
        assert one is not None
        assert await one.is_enough(["hello there"], seats("a"), seats("b"), [-1.0])
        assert not await one.is_enough([], [], seats("b"), [])
    finally:
        ranker.close()
