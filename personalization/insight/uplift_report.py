"""What personalization brings, for the operator: the log of past choices -> estimates with intervals.

Two policies are compared on the same replies: the candidate that was best by the member's own head, and the
one that the prior would have called best, as for a member without labels. Neither ran as such (replies were
posted with some exploration), so both are estimated from the stored chances
(:mod:`personalization.insight.off_policy`). What counts is what members did: how many replies in a hundred
they liked, and how many they disliked. Silence is neither.

Imports no storage but the types of its records; reached by ``simpatico report`` and once a day by the bot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np

from personalization.arrays import BoolArray, DoubleArray
from personalization.insight.off_policy import Estimate, Estimates, Log, difference_of, mean_of, value_of
from personalization.labels.labels import EmojiValence, label_of
from personalization.population.calibration import platt
from personalization.ranking.policy import best_of
from personalization.settings import LabelWeights
from storage.records import ANOTHER, FALLBACK, PastChoice, ReplyId

REPLIES_AT_ONCE = 2000
SURE = 0.5
"""Thumbs. What says less than half of one (an emoji of unsure meaning) counts as silence."""
PARTS = 5
"""Rewards are predicted for a fifth of the members by what the others did."""


class _Page(Protocol):
    @property
    def choices(self) -> Sequence[PastChoice]: ...
    @property
    def n_shut(self) -> int: ...
    @property
    def last(self) -> ReplyId | None: ...


class ChoiceStore(Protocol):
    """What it asks of the store; :class:`storage.learning.past_choices.PastChoices` is one."""

    async def page(self, since: datetime, after: ReplyId | None, limit: int) -> _Page:
        """Read how replies were chosen, oldest first."""
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Choices:
    """Past choices as arrays; candidates that a reply did not have score minus infinity.

    Attributes:
        log: What was posted, ``n`` replies of up to ``k`` candidates.
        scores: What the policy went by, ``n x k``.
        prior_scores: What it would have gone by for a member without labels, ``n x k``.
        values: The label that the asker gave, ``n``; NaN for silence.
        n_unranked: Replies that went out unranked; they are not among the others.
        n_shut: Replies that could not be opened; nor are they.
        n_another: Replies that were asked for in place of one before; nor are they.
    """

    log: Log
    scores: DoubleArray
    prior_scores: DoubleArray
    values: DoubleArray
    n_unranked: int = 0
    n_shut: int = 0
    n_another: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How often something happened, as a share of replies, and would have happened.

    Attributes:
        posted: As it was.
        head: With the candidate that was best by the member's head.
        prior: With the one that was best by the prior.
        gain: ``head`` less ``prior``.
    """

    posted: Estimate
    head: Estimates
    prior: Estimates
    gain: Estimates


@dataclass(frozen=True, slots=True)
class Report:
    """What personalization brings.

    Attributes:
        n_replies: Replies that the estimates rest on.
        n_members: Members they went to.
        n_personal: Those of them on which head and prior did not agree which candidate is best.
        n_answered: Those with an answer that is sure enough.
        n_unranked: Replies left out because they went out unranked.
        n_unanswerable: Replies left out because the best candidate had no chance of being posted.
        n_shut: Replies left out because they could not be opened.
        liked: Share of replies that were liked.
        disliked: Share of replies that were disliked.
        n_another: Replies left out because they were asked for in place of one before.
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


async def read_choices(
    store: ChoiceStore, since: datetime, valence: EmojiValence, weights: LabelWeights
) -> Choices:
    """Read the log, a page at a time.

    Args:
        store: Where it is.
        since: Replies from then on, aware UTC.
        valence: What emoji mean.
        weights: How far each kind of feedback is trusted.

    Raises:
        StorageError: Reading failed.
    """
    pages: list[Choices] = []
    after, more = None, True
    while more:
        page = await store.page(since, after, REPLIES_AT_ONCE)
        pages.append(as_choices(page.choices, valence, weights, n_shut=page.n_shut))
        after, more = page.last, page.last is not None
    return _together(pages)


def as_choices(
    past: Sequence[PastChoice], valence: EmojiValence, weights: LabelWeights, *, n_shut: int = 0
) -> Choices:
    """Put past choices into arrays; the unranked ones are counted and left out.

    So are other answers to the same prompt: only prompts whose first answer displeased have one, and it was
    chosen among what that left over. With them the log would tell of other prompts than the bot is asked.
    """
    first = [choice for choice in past if not choice.policy.startswith(ANOTHER)]
    ranked = [choice for choice in first if choice.policy != FALLBACK]
    values = np.full(len(ranked), np.nan)
    for i, choice in enumerate(ranked):
        label = label_of(choice.reactions, choice.rating, valence, weights)
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
    n_unranked, n_another = len(first) - len(ranked), len(past) - len(first)
    return Choices(log, scores, prior_scores, values, n_unranked, n_shut, n_another)


def _padded(rows: Sequence[Sequence[float]], by: float) -> DoubleArray:
    """Put rows of different length under one another, ``n x k``."""
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
    )


# --- estimates -------------------------------------------------------------------------------------------


def report_of(choices: Choices) -> Report:
    """Estimate what personalization brings. Pure; a log of nothing gives NaN."""
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

    return Report(
        n_replies=len(values),
        n_members=len(np.unique(log.member)),
        n_personal=int((head != prior).any(axis=1).sum()),
        n_answered=int((~np.isnan(values)).sum()),
        n_unranked=choices.n_unranked,
        n_unanswerable=int((~here).sum()),
        n_shut=choices.n_shut,
        liked=outcome(values > 0.5),
        disliked=outcome(values < 0.5),
        n_another=choices.n_another,
    )


def predict(log: Log, rewards: DoubleArray, scores: DoubleArray) -> DoubleArray:
    """Predict the reward of every candidate from its score, ``n x k``; nobody's from their own.

    One slope and shift for all members but those of the part that is predicted: what the estimate corrects
    with a member's rewards was not fitted to them.
    """
    part = np.unique(log.member, return_inverse=True)[1] % PARTS  # (n,)
    posted, known = log.of_posted(scores), np.where(np.isfinite(scores), scores, 0.0)
    predicted = np.zeros_like(scores)
    for each in range(PARTS):
        others, own = part != each, part == each
        slope, shift = platt(posted[others], rewards[others], shift=True)
        predicted[own] = 1 / (1 + np.exp(-(slope * known[own] + shift)))
    return predicted
