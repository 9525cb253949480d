"""The fit of the population prior: emoji meanings, then labels, then mean and covariance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from personalization.heads.heads import Prior
from personalization.labels.labels import EmojiValence, label_of
from personalization.population.fit_prior import fit_prior
from personalization.population.pooled import Pool
from personalization.rounds.examples import MemberFeedback, labelled
from personalization.rounds.teaching import FittedPrior, teach, weak_odds
from personalization.score_quality import concordance
from personalization.settings import LearningSettings
from personalization.solving.training import Examples, solve_heads
from storage.records import MemberId

DIM = 8
TABLE = EmojiValence()
SETTINGS = LearningSettings(device="cpu")
STARTER = Prior(np.zeros(DIM, np.float32), np.full(DIM, 0.5, np.float32), 0.0, 4.0, "f" * 32)
SKULL, PEPE = "💀", ":4242"
COMMON = np.array([2.0, 0, 0, 0, 0, 0, 0, 0])
"""Taste that all members share."""


def member(number: int, rng: np.random.Generator, n: int, sign_of) -> tuple[MemberFeedback, np.ndarray]:
    """Draw a member: their feedback on n replies, given by ``sign_of(i, liked)``, and their taste."""
    taste = COMMON + rng.normal(size=DIM)
    X = rng.normal(size=(n, DIM)).astype(np.float32)
    liked = rng.random(n) < 1 / (1 + np.exp(-X @ taste))
    signs = tuple(sign_of(i, bool(good)) for i, good in enumerate(liked))
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return MemberFeedback(MemberId(number.to_bytes(16)), X, signs, (at,) * n), taste


def skulls(number: int):
    """Odd members put 💀 on replies they like, even ones on those they dislike; thumbs on every third."""

    def sign_of(i: int, liked: bool):
        thumb = ("👍" if liked else "👎",) if i % 3 == 0 else ()
        return (*thumb, *((SKULL,) if liked == bool(number % 2) else ())), None

    return sign_of


def lesson_of(told: list[MemberFeedback], settings: LearningSettings = SETTINGS) -> FittedPrior:
    lesson = teach(told, STARTER, TABLE, settings, member_cap=20.0)
    assert lesson is not None
    return lesson


def test_what_a_skull_means_to_somebody_makes_their_head_better() -> None:
    """On held-out members: for half of them 💀 is a like, for the others a dislike."""
    rng = np.random.default_rng(0)
    lesson = lesson_of([member(u, rng, 24, skulls(u))[0] for u in range(60)])
    tested = [member(100 + u, rng, 30, skulls(u)) for u in range(40)]

    def by_table(told: MemberFeedback):
        labels = [label_of(*sign, TABLE) for sign in told.signs]
        kept = [i for i, label in enumerate(labels) if label is not None]
        y, w = np.array([(labels[i].value, labels[i].weight) for i in kept], np.float32).T
        return told.X[kept], y, w

    def learnt(told: MemberFeedback):
        read = labelled(told, TABLE.learnt(lesson.prior.meanings), SETTINGS)
        return read.X, read.y, read.weight

    def right(read) -> list[float]:
        bank, _ = solve_heads(Examples.pad([read(told) for told, _ in tested]), lesson.prior, "cpu")
        found = []
        for u, (_, taste) in enumerate(tested):
            asked = np.random.default_rng(u).normal(size=(200, DIM)).astype(np.float32)
            found.append(concordance(asked @ bank.weights[u].astype(np.float32), asked @ taste > 0))
        return found

    table, own = right(by_table), right(learnt)

    assert abs(lesson.prior.meanings[SKULL].value) < 0.25
    assert np.mean(own) > np.mean(table) + 0.01
    assert np.mean(own[::2]) > np.mean(table[::2]) + 0.01  # members for whom the table is wrong


def test_a_custom_emoji_that_never_stands_beside_a_thumb_is_learnt_from_where_it_stands() -> None:
    """The meaning comes from replies that the population likes, scored by a head of other members."""
    rng = np.random.default_rng(1)

    def sign_of(i: int, liked: bool):
        if i % 2:
            return ("👍" if liked else "👎",), None
        return ((PEPE,) if liked else ()), None

    told = [member(u, rng, 24, sign_of)[0] for u in range(60)]
    reading = TABLE.learnt(lesson_of(told).prior.meanings).reading_of(PEPE)

    assert reading is not None
    assert reading.value > 0.3


def test_without_any_surer_sign_the_prior_is_exactly_what_the_table_makes_it() -> None:
    rng = np.random.default_rng(2)
    told = [member(u, rng, 10, lambda i, liked: (("🔥" if liked else "🙄",), None))[0] for u in range(24)]
    read = [(one.X, [label_of(*sign, TABLE) for sign in one.signs]) for one in told]
    pool = Pool(
        np.concatenate([X for X, _ in read]),
        np.array([label.value for _, labels in read for label in labels if label], np.float32),
        np.array([label.weight for _, labels in read for label in labels if label], np.float32),
        np.repeat(np.arange(24), 10),
    )

    lesson = lesson_of(told)

    assert lesson.prior.meanings == {}
    assert lesson.prior.prior_id == fit_prior(pool, STARTER, member_cap=20.0, device="cpu").prior_id


def test_order_of_members_has_no_effect() -> None:
    rng = np.random.default_rng(3)
    told = [member(u, rng, 12, skulls(u))[0] for u in range(30)]

    assert lesson_of(told).prior.prior_id == lesson_of(told[::-1]).prior.prior_id


def test_too_few_members_teach_nothing() -> None:
    rng = np.random.default_rng(4)
    told = [member(u, rng, 5, skulls(u))[0] for u in range(19)]
    silent = MemberFeedback(
        MemberId(b"s" * 16), told[0].X, tuple(((), None) for _ in range(5)), told[0].changed_at
    )

    assert teach([*told, silent], STARTER, TABLE, SETTINGS, member_cap=20.0) is None


def test_weak_odds_lean_to_what_others_like_and_are_worth_what_surer_signs_show() -> None:
    rng = np.random.default_rng(5)

    def sign_of(i: int, liked: bool):
        return (("👍" if liked else "👎",) if i % 2 else (PEPE,)), None

    told = [member(u, rng, 20, sign_of)[0] for u in range(40)]

    odds = weak_odds(told, STARTER, TABLE, "cpu", None)

    assert odds is not None
    together, common = np.concatenate(odds), np.concatenate([one.X @ COMMON for one in told])
    assert np.corrcoef(together, common)[0, 1] > 0.8
    assert 0.3 < together.std() < 1.5


def test_there_are_no_weak_odds_where_nothing_is_sure_or_likes_have_no_pattern() -> None:
    rng = np.random.default_rng(6)

    def alone(i: int, liked: bool):
        return (PEPE,), None

    def chance(i: int, liked: bool):
        return ("👍",) if i else ("👎",), None

    nothing = [member(u, rng, 10, alone)[0] for u in range(40)]
    few = [member(u, rng, 10, chance)[0] for u in range(30)]

    assert weak_odds(nothing, STARTER, TABLE, "cpu", None) is None
    assert weak_odds(few, STARTER, TABLE, "cpu", None) is None  # thirty dislikes are too few


@pytest.mark.parametrize("n", [1, 2])
def test_a_handful_of_members_is_no_trouble(n: int) -> None:
    rng = np.random.default_rng(7)
    settings = replace(SETTINGS, prior_min_members=5)
    told = [member(u, rng, 3, skulls(u))[0] for u in range(8 + n)]

    lesson = lesson_of(told, settings=settings)

    assert (lesson.n_members, lesson.prior.dim) == (8 + n, DIM)
