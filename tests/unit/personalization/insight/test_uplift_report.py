"""The uplift report on a simulated log with a known truth, and the conversion of stored records."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from personalization.heads.heads import starter_prior
from personalization.insight.off_policy import Log
from personalization.insight.uplift_report import Choices, as_choices, predict, read_choices, report_of
from personalization.lab.bandit_replay import make_world, play_through
from personalization.lab.baselines import MEMBER_CAP, pool_of
from personalization.lab.datasets import read_dataset
from personalization.labels.labels import EmojiValence
from personalization.labels.plugged import Labeller
from personalization.population.fit_prior import fit_prior
from personalization.ranking.policy import Explore, Thompson, best_of
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from storage.records import ANOTHER, EARLY, FALLBACK, WAITED, MemberId, PastChoice
from tests.fakes import HashEncoder

JOKES = Path(__file__).parents[3] / "data" / "made_up_jokes"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, eq=False)
class Played:
    """A simulated log on a dense set: choices, and whether each candidate is liked (``n x k``)."""

    choices: Choices
    liked: np.ndarray

    @property
    def truth(self) -> float:
        """Likes of the head's best candidates minus those of the prior's, on the same replies."""
        head, prior = best_of(self.choices.scores), best_of(self.choices.prior_scores)
        return float(((head - prior) * self.liked).sum(axis=1).mean())

    def again(self, rng: np.random.Generator) -> Choices:
        """Draw the posted candidates of the same replies again, with the same propensities."""
        chances = self.choices.log.propensities
        chosen = (
            (rng.random((len(chances), 1)) > chances.cumsum(axis=1))
            .sum(axis=1)
            .clip(max=chances.shape[1] - 1)
        )
        values = np.take_along_axis(self.liked, chosen[:, None], axis=1)[:, 0].astype(float)
        return replace(self.choices, log=replace(self.choices.log, chosen=chosen), values=values)


@cache
def played() -> Played:
    """Play 40 rounds with 40 members, as the replay of the evaluation does."""
    dataset = read_dataset(JOKES)
    features = FeatureMap(HashEncoder())
    X = features.features(dataset.texts)
    starter = starter_prior(features, LearningSettings())
    pool = pool_of(dataset, X, np.arange(len(dataset.y)))
    how = {"member_cap": MEMBER_CAP, "device": "cpu", "n_embedding": features.n_embedding}
    prior = fit_prior(pool, starter, calibrated=False, **how)
    seen: list[np.ndarray] = []

    def player(world, posted, offers):
        y = np.take_along_axis(world.labels, posted, axis=1)
        examples = Examples(X[posted], y, np.ones_like(y), np.ones(y.shape, bool))
        seen.append(learn_heads(examples, prior, "cpu")[0].scores(X[offers]).astype(float))
        return seen[-1], np.full((len(y), 4, 4), 0.0) + 0.5 * np.eye(4)

    world = make_world(dataset, np.ones(len(dataset.users), bool), 0)
    play = play_through(world, player, Explore(Thompson(0.2), 0.1), np.random.default_rng(0))
    scores = np.stack(seen, axis=1).reshape(-1, 4)
    liked = (np.take_along_axis(world.labels[:, None, :], play.offered, axis=2) > 0.5).reshape(-1, 4)
    values = np.take_along_axis(liked, play.chosen.reshape(-1, 1), axis=1)[:, 0].astype(float)
    prior_scores = prior.head().score(X)[play.offered].reshape(-1, 4).astype(float)
    return Played(Choices(play.log(), scores, prior_scores, values), liked)


def covered(make, throws: int = 60) -> dict[str, int]:
    """Share of redrawn logs in which the interval of the gain contains the truth."""
    rng, counts = np.random.default_rng(1), dict.fromkeys(("ips", "snips", "dr"), 0)
    for _ in range(throws):
        gain = report_of(make(played().again(rng))).liked.gain
        for name in counts:
            found = getattr(gain, name)
            counts[name] += found.low <= played().truth <= found.high
    return counts


@pytest.mark.slow
def test_intervals_hold_the_true_gain_of_the_heads() -> None:
    assert abs(played().truth) > 0.01  # else there would be no gain to detect

    counts = covered(lambda choices: choices)

    assert min(counts.values()) >= 54, counts


@pytest.mark.slow
def test_control_with_wrong_propensities_the_intervals_miss_it() -> None:
    """Control: the same log with uniform propensities."""

    def evenly(choices: Choices) -> Choices:
        even = np.full_like(choices.log.propensities, 0.25)
        return replace(choices, log=replace(choices.log, propensities=even))

    counts = covered(evenly)

    # The doubly robust estimate is saved by its predictions, as intended.
    assert (counts["ips"], counts["snips"]) == (0, 0), counts


def test_a_report_counts_what_it_rests_on_and_what_it_leaves_out() -> None:
    chances = np.array([[0.9, 0.1], [0.5, 0.5], [1.0, 0.0], [0.3, 0.7]])
    log = Log(chances, np.array([0, 1, 0, 1]), np.array([1, 1, 2, 2]))
    scores = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    prior_scores = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 2.0]])
    values = np.array([1.0, 0.25, 1.0, np.nan])

    report = report_of(Choices(log, scores, prior_scores, values, n_unranked=2, n_shut=1))

    found = (report.n_replies, report.n_members, report.n_personal, report.n_answered)
    assert found == (3, 2, 1, 2)
    assert (report.n_unranked, report.n_unanswerable, report.n_shut) == (2, 1, 1)
    assert (report.liked.posted.value, report.disliked.posted.value) == pytest.approx((1 / 3, 1 / 3))
    # Head and prior differ only in the second reply: the prior's best was posted with 0.5, and disliked.
    assert report.liked.gain.ips.value == 0.0
    assert report.disliked.gain.ips.value == pytest.approx(-2 / 3)


def test_a_log_of_nothing_gives_no_figures() -> None:
    report = report_of(as_choices([], EmojiValence({}), Labeller(LearningSettings())))

    assert (report.n_replies, report.liked.gain.dr.n_effective) == (0, 0.0)
    assert math.isnan(report.liked.gain.dr.value)


def test_rewards_are_predicted_by_what_other_members_did() -> None:
    rng = np.random.default_rng(3)
    member = np.repeat(np.arange(50), 40)
    scores = rng.normal(size=(2000, 2))
    rewards = (rng.random(2000) < 1 / (1 + np.exp(-2 * scores[:, 0]))).astype(float)
    log = Log(np.full((2000, 2), 0.5), np.zeros(2000, np.int64), member)

    predicted = predict(log, rewards, scores)
    flipped = predict(log, np.where(member == 0, 1 - rewards, rewards), scores)

    np.testing.assert_allclose(predicted, 1 / (1 + np.exp(-2 * scores)), atol=0.06)
    np.testing.assert_array_equal(flipped[member == 0], predicted[member == 0])


# --- records of the store ----------------------------------------------------------------------------


def past(who: bytes, *reactions: str, rating=None, k=2, policy="thompson:0.2+0.02") -> PastChoice:
    chances = tuple([0.5, *[0.5 / (k - 1)] * (k - 1)])
    scores = tuple(float(i) for i in range(k))
    return PastChoice(MemberId(who * 16), 1, scores, scores[::-1], chances, policy, reactions, rating)


async def test_choices_are_read_page_by_page_with_the_label_that_the_asker_gave() -> None:
    pages = [
        [
            past(b"a", "👍"),
            past(b"a", "👎", rating=4),
            past(b"a", policy=FALLBACK),
            past(b"a", "👍", policy=f"{ANOTHER}greedy"),
        ],
        [past(b"b", k=3), past(b"b", "👎", k=3)],
    ]

    @dataclass
    class Page:
        choices: list[PastChoice]
        n_unreadable: int
        last: int | None

    class Shelf:
        async def page(self, since, after, limit):
            assert since == SINCE
            i = after or 0
            return Page(pages[i], i, i + 1 if i + 1 < len(pages) else None)

    found = await read_choices(Shelf(), SINCE, EmojiValence({}), Labeller(LearningSettings()))

    np.testing.assert_array_equal(found.values, [1.0, 0.75, np.nan, 0.0])
    np.testing.assert_array_equal(found.scores[:, 2], [-np.inf, -np.inf, 2.0, 2.0])
    np.testing.assert_array_equal(found.log.propensities[:, 2], [0.0, 0.0, 0.25, 0.25])
    assert found.log.member[0] == found.log.member[1] != found.log.member[2] == found.log.member[3]
    assert (found.n_unranked, found.n_shut, found.n_another) == (1, 1, 1)


def test_an_emoji_that_hardly_says_anything_counts_as_silence() -> None:
    unsure = EmojiValence({}).reading_of("🌸")
    assert unsure is not None and unsure.trust < 0.5  # in the public table

    choices = as_choices([past(b"a", "🌸"), past(b"a", "❤")], EmojiValence({}), Labeller(LearningSettings()))

    assert math.isnan(choices.values[0])
    assert choices.values[1] > 0.5


def test_replies_that_stopped_early_are_compared_with_those_that_waited() -> None:
    rng = np.random.default_rng(5)
    records = []
    for who in range(60):
        for _ in range(20):
            mark, chance = ((EARLY, 0.5), (WAITED, 0.7), ("", 0.1))[rng.integers(3)]
            thumb = "👍" if rng.random() < chance else "👎"
            records.append(past(bytes([65 + who]), thumb, policy=f"{mark}thompson:0.2+0.02"))

    report = report_of(as_choices(records, EmojiValence({}), Labeller(LearningSettings())))

    found = report.early
    assert found is not None
    assert found.n_early == sum(record.policy.startswith(EARLY) for record in records)
    assert found.n_waited == sum(record.policy.startswith(WAITED) for record in records)
    assert found.early.low < 0.5 < found.early.high
    assert found.waited.low < 0.7 < found.waited.high
    assert found.gain.low < -0.2 < found.gain.high < 0
    assert report.n_replies == len(records), "they count for the uplift like all others"


def test_without_early_stops_nothing_is_said_of_them() -> None:
    report = report_of(
        as_choices([past(b"a", "👍"), past(b"b")], EmojiValence({}), Labeller(LearningSettings()))
    )

    assert report.early is None
