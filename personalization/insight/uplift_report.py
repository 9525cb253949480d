"""The uplift report: estimates, from the log of past choices, of what personalization adds.

It compares two policies on the same replies. One posts the candidate that is best by the member's own head.
The other posts the best by the prior, as for a member without labels. Neither policy ran as such, because
replies are posted with some exploration. So both are estimated from the stored propensities
(:mod:`personalization.insight.off_policy`). The rewards are the shares of replies that members liked and
disliked; a reply without feedback counts as neither.

Called by ``simpatico report`` and once a day by the bot. Of storage it imports only record types.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from personalization.arrays import BoolArray, DoubleArray
from personalization.insight.arm_report import ArmLift, lifts_of
from personalization.insight.off_policy import Estimate, Estimates, Log, difference_of, mean_of, value_of
from personalization.labels.labels import EmojiValence
from personalization.labels.plugged import Labeller
from personalization.population.outcomes import platt
from personalization.ranking.policy import best_of
from storage.records import ANOTHER, EARLY, FALLBACK, WAITED, PastChoice, ReplyId, Seat

REPLIES_AT_ONCE = 2000
SURE = 0.5
"""Minimum weight of a label, in thumbs; feedback below it (an emoji of unsure meaning) is ignored."""
PARTS = 5
"""Folds of members. The rewards of each fold are predicted from the other folds."""


class _Page(Protocol):
    @property
    def choices(self) -> Sequence[PastChoice]: ...
    @property
    def n_unreadable(self) -> int: ...
    @property
    def last(self) -> ReplyId | None: ...


class ChoiceStore(Protocol):
    """Access to past choices, as :class:`storage.learning.past_choices.PastChoices` gives it."""

    async def page(self, since: datetime, after: ReplyId | None, limit: int) -> _Page:
        """Read one page of past choices, oldest first."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Choices:
    """Past choices as arrays; replies with fewer candidates are padded with scores of minus infinity.

    Attributes:
        log: Posted replies, ``n`` of up to ``k`` candidates.
        scores: Scores used by the policy, ``n x k``.
        prior_scores: Scores for a member without labels, ``n x k``.
        values: Label given by the member who got the reply, ``n``; NaN without feedback.
        n_unranked: Replies posted unranked; not included in the arrays.
        n_shut: Replies that could not be decrypted, or lack numbers; not included.
        n_another: Other answers requested in place of an earlier reply; not included.
        early: Whether not all candidates were awaited, ``n``; None: all were.
        waited: Whether the same could have been done, but the reply waited for comparison, ``n``.
        seats: Seat of each posted candidate, ``n``.
    """

    log: Log
    scores: DoubleArray
    prior_scores: DoubleArray
    values: DoubleArray
    n_unranked: int = 0
    n_shut: int = 0
    n_another: int = 0
    early: BoolArray | None = None
    waited: BoolArray | None = None
    seats: tuple[Seat | None, ...] = ()


@dataclass(frozen=True, slots=True)
class EarlyReplies:
    """Replies for which a candidate was good enough before the last came.

    A random share of them waited all the same, so the difference of both groups is what the early stop costs.

    Attributes:
        n_early: Replies for which not all candidates were awaited.
        n_waited: Replies that waited for comparison.
        early: Share of the first that were liked.
        waited: Share of the others that were liked.
        gain: ``early`` minus ``waited``; its interval treats the groups as independent, which is too wide.
    """

    n_early: int
    n_waited: int
    early: Estimate
    waited: Estimate
    gain: Estimate


@dataclass(frozen=True, slots=True)
class Outcome:
    """Share of replies with an outcome, as observed and as estimated for both policies.

    Attributes:
        posted: Share among the posted replies.
        head: Share if the best candidate by the member's head were posted.
        prior: Share if the best candidate by the prior were posted.
        gain: ``head`` minus ``prior``.
    """

    posted: Estimate
    head: Estimates
    prior: Estimates
    gain: Estimates


@dataclass(frozen=True, slots=True)
class Report:
    """Estimated uplift of personalization.

    Attributes:
        n_replies: Replies behind the estimates.
        n_members: Members who got those replies.
        n_personal: Replies for which head and prior prefer different candidates.
        n_answered: Replies with feedback of sufficient weight.
        n_unranked: Replies excluded because they were posted unranked.
        n_unanswerable: Replies excluded because a best candidate had propensity 0.
        n_shut: Replies excluded because they could not be decrypted.
        liked: Share of replies that were liked.
        disliked: Share of replies that were disliked.
        n_another: Replies excluded because they were requested in place of an earlier reply.
        n_effective_members: Members behind the estimates, less where few of them got most replies:
            ``(sum n) ** 2 / sum n ** 2`` over their numbers of replies.
        early: The replies that could stop waiting early; None if there are none.
        arms: What each kind of candidate brings.
    """

    n_replies: int
    n_members: int
    n_personal: int
    n_answered: int
    n_unranked: int
    n_unanswerable: int
    n_shut: int
    liked: Outcome
    disliked: Outcome
    n_another: int = 0
    n_effective_members: float = 0.0
    early: EarlyReplies | None = None
    arms: tuple[ArmLift, ...] = ()


async def read_choices(
    store: ChoiceStore, since: datetime, valence: EmojiValence, label_of: Labeller
) -> Choices:
    """Read the log page by page.

    Args:
        store: Source of past choices.
        since: Time of the earliest reply, aware UTC.
        valence: Valence of emoji.
        label_of: Derives the labels.

    Raises:
        StorageError: Reading failed.
    """
    pages: list[Choices] = []
    after, more = None, True
    while more:
        page = await store.page(since, after, REPLIES_AT_ONCE)
        pages.append(as_choices(page.choices, valence, label_of, n_shut=page.n_unreadable))
        after, more = page.last, page.last is not None
    return _together(pages)


def as_choices(
    past: Sequence[PastChoice], valence: EmojiValence, label_of: Labeller, *, n_shut: int = 0
) -> Choices:
    """Convert past choices to arrays; unranked replies and other answers are counted and excluded.

    Other answers to the same prompt exist only where the first answer displeased, and they are chosen among
    the remaining candidates. With them the log would no longer represent the prompts that the bot gets.
    """
    first = [choice for choice in past if not choice.policy.startswith(ANOTHER)]
    n_another, n_first = len(past) - len(first), len(first)
    first = [choice for choice in first if len(choice.prior_scores) == len(choice.scores)]
    n_shut += n_first - len(first)  # the first release stored no scores of the prior
    ranked = [choice for choice in first if choice.policy != FALLBACK]
    values = np.full(len(ranked), np.nan)
    for i, choice in enumerate(ranked):
        label = label_of(choice.reactions, choice.rating, valence)
        if label is not None and label.weight >= SURE:
            values[i] = label.value
    ids = [int.from_bytes(choice.member_id[:8], "little", signed=True) for choice in ranked]
    log = Log(
        _padded([choice.propensities for choice in ranked], 0.0),
        np.array([choice.chosen for choice in ranked], np.int64),
        np.array(ids, np.int64),
    )
    scores, prior_scores = (
        _padded(rows, -np.inf)
        for rows in ([choice.scores for choice in ranked], [choice.prior_scores for choice in ranked])
    )
    n_unranked = len(first) - len(ranked)
    early, waited = (
        np.array([choice.policy.startswith(mark) for choice in ranked], np.bool_) for mark in (EARLY, WAITED)
    )
    seats = tuple(choice.seat for choice in ranked)
    return Choices(log, scores, prior_scores, values, n_unranked, n_shut, n_another, early, waited, seats)


def _padded(rows: Sequence[Sequence[float]], by: float) -> DoubleArray:
    """Stack rows of different lengths, padded with ``by``, ``n x k``."""
    width = max((len(row) for row in rows), default=1)
    return np.array([[*row, *[by] * (width - len(row))] for row in rows], np.float64).reshape(-1, width)


def _together(pages: Sequence[Choices]) -> Choices:
    width = max(page.scores.shape[1] for page in pages)

    def stacked(arrays: Sequence[DoubleArray], by: float) -> DoubleArray:
        wide = [(0, 0)]
        return np.concatenate(
            [np.pad(a, [*wide, (0, width - a.shape[1])], constant_values=by) for a in arrays]
        )

    log = Log(
        stacked([page.log.propensities for page in pages], 0.0),
        np.concatenate([page.log.chosen for page in pages]),
        np.concatenate([page.log.member for page in pages]),
    )
    return Choices(
        log,
        stacked([page.scores for page in pages], -np.inf),
        stacked([page.prior_scores for page in pages], -np.inf),
        np.concatenate([page.values for page in pages]),
        sum(page.n_unranked for page in pages),
        sum(page.n_shut for page in pages),
        sum(page.n_another for page in pages),
        np.concatenate([_marks(page, page.early) for page in pages]),
        np.concatenate([_marks(page, page.waited) for page in pages]),
        tuple(seat for page in pages for seat in page.seats),
    )


def _marks(choices: Choices, marked: BoolArray | None) -> BoolArray:
    return np.zeros(len(choices.values), np.bool_) if marked is None else marked


# --- estimates -------------------------------------------------------------------------------------------


def report_of(choices: Choices) -> Report:
    """Estimate the uplift of personalization. Pure; an empty log gives NaN."""
    head, prior = best_of(choices.scores), best_of(choices.prior_scores)
    here = choices.log.answers_for(head) & choices.log.answers_for(prior)
    log, values = choices.log.only(here), choices.values[here]
    head, prior, scores = head[here], prior[here], choices.scores[here]

    def outcome(happened: BoolArray) -> Outcome:
        rewards = happened.astype(np.float64)
        predicted = predict(log, rewards, scores)
        return Outcome(
            posted=mean_of(log, rewards),
            head=value_of(log, rewards, head, predicted),
            prior=value_of(log, rewards, prior, predicted),
            gain=difference_of(log, rewards, head, prior, predicted),
        )

    per_member = np.unique(log.member, return_counts=True)[1].astype(np.float64)
    return Report(
        n_replies=len(values),
        n_members=len(per_member),
        n_personal=int((head != prior).any(axis=1).sum()),
        n_answered=int((~np.isnan(values)).sum()),
        n_unranked=choices.n_unranked,
        n_unanswerable=int((~here).sum()),
        n_shut=choices.n_shut,
        liked=outcome(values > 0.5),
        disliked=outcome(values < 0.5),
        n_another=choices.n_another,
        n_effective_members=float(per_member.sum() ** 2 / max(1.0, (per_member**2).sum())),
        early=_early_replies(choices),
        arms=lifts_of(choices.log, choices.values > 0.5, choices.seats),
    )


def _early_replies(choices: Choices) -> EarlyReplies | None:
    """Compare the replies that stopped early with those that waited for comparison."""
    groups = _marks(choices, choices.early), _marks(choices, choices.waited)
    if not any(group.any() for group in groups):
        return None
    liked = (choices.values > 0.5).astype(np.float64)
    early, waited = (mean_of(choices.log.only(group), liked[group]) for group in groups)
    value, half = early.value - waited.value, math.hypot(early.high - early.value, waited.high - waited.value)
    n_early, n_waited = (int(group.sum()) for group in groups)
    gain = Estimate(value, value - half, value + half, float(min(n_early, n_waited)))
    return EarlyReplies(n_early, n_waited, early, waited, gain)


def predict(log: Log, rewards: DoubleArray, scores: DoubleArray) -> DoubleArray:
    """Predict the reward of every candidate from its score, ``n x k``, by cross-fitting over members.

    One slope and one shift are fitted to the other folds. So the prediction that the estimate corrects with a
    member's rewards was not fitted to these rewards.
    """
    part = np.unique(log.member, return_inverse=True)[1] % PARTS  # (n,)
    posted, known = log.of_posted(scores), np.where(np.isfinite(scores), scores, 0.0)
    predicted = np.zeros_like(scores)
    for each in range(PARTS):
        others, own = part != each, part == each
        slope, shift = platt(posted[others], rewards[others], shift=True)
        predicted[own] = 1 / (1 + np.exp(-(slope * known[own] + shift)))
    return predicted
