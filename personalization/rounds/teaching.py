"""Fits the population prior to members' feedback: emoji meanings, then labels, then mean and covariance.

:func:`teach` is a pure function, so it can run in the worker process. It learns emoji meanings from surer
signs (thumbs, ratings) and from a head fitted to those alone. With the meanings it derives labels from all
feedback. :mod:`personalization.population.agreement` finds the members who contradict all others; they hardly
count. :func:`personalization.population.fit_prior.fit_prior` fits the prior to the labels, and
:mod:`personalization.population.server_shifts` learns what the members of a server share. Called by
:mod:`personalization.rounds.trainer`. Of storage it imports only record types.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from personalization.arrays import DoubleArray, FloatArray
from personalization.errors import RoundFailed
from personalization.heads.heads import Prior
from personalization.labels.emoji_meanings import learn_meanings, sure_sign, uses_of
from personalization.labels.labels import EmojiValence
from personalization.population.agreement import agreement_of
from personalization.population.fit_prior import fit_prior, mean_precision
from personalization.population.pooled import Pool, Pooled, teachers
from personalization.population.server_shifts import learn_shifts
from personalization.rounds.examples import Labelled, MemberFeedback, pool_of, read_labels
from personalization.settings import Device, LearningSettings
from personalization.sharing import Owner, shares

SURE_LABELS = 40
"""Surer signs of each kind, liked and disliked, needed to measure what a score of the head is worth."""
RIDGE = 100.0
"""Penalty on that head. It is strong, because the head only has to order a member's own replies."""


@dataclass(frozen=True, eq=False, slots=True)
class FittedPrior:
    """A fitted population prior, with the number of members and of labels it was fitted to."""

    prior: Prior
    n_members: int
    n_labels: int


def teach(
    feedback: Sequence[MemberFeedback],
    starter: Prior,
    valence: EmojiValence,
    settings: LearningSettings,
    *,
    member_cap: float,
    n_embedding: int | None = None,
) -> FittedPrior | None:
    """Fit the population prior to feedback. Blocks; the order of members has no effect.

    Args:
        feedback: Feedback of members who agreed.
        starter: Centre of the fit; the prior of a small population stays close to it.
        valence: Valence of emoji before anything is learnt.
        settings: Weights of feedback, minimum number of members, device.
        member_cap: Largest total weight of one member, > 0.
        n_embedding: Number of features that are the embedding.

    Returns:
        None if the effective number of persons with labels is below ``prior_min_members``.

    Raises:
        DeviceMissing: This machine lacks the device named in the settings.
    """
    least = settings.prior_min_members
    owners = [Owner(member.person, member.guild) for member in feedback]
    pool = _pooled(read_labels(feedback, valence, settings), owners, member_cap, least)
    if pool is None:
        return None
    agreed = agreement_of(pool, starter, member_cap=member_cap, n_embedding=n_embedding)
    voters = [replace(owner, agrees=agreed.by_member.get(i, 1.0)) for i, owner in enumerate(owners)]
    odds = weak_odds(feedback, starter, valence, settings.device, n_embedding, min_members=least)
    uses = [
        uses_of(member.signs, valence.in_guild(member.guild), None if odds is None else odds[i])
        for i, member in enumerate(feedback)
    ]
    meanings = learn_meanings(uses, valence, min_members=least, owners=voters) if agreed.quorum else {}
    pool = _pooled(read_labels(feedback, valence.learnt(meanings), settings), voters, member_cap, least)
    if pool is None:  # the meanings took labels away
        return None
    prior = fit_prior(
        pool,
        starter,
        member_cap=member_cap,
        device=settings.device,
        n_embedding=n_embedding,
        settings=settings.prior,
        keep_mean=not agreed.quorum,
    )
    # A server's own mean goes by its members alone, whether or not they agree with other servers.
    shifts = learn_shifts(pool, owners, prior, member_cap=member_cap, min_members=least)
    prior = replace(prior, meanings=meanings, shifts=shifts)
    return FittedPrior(prior, len(np.unique(pool.member)), len(pool.y))


def _pooled(
    members: Sequence[Labelled], owners: Sequence[Owner], member_cap: float, min_members: int
) -> Pool | None:
    """Pool the labels of members under their places, with the part of each that counts for all.

    Returns:
        None if the effective number of persons with labels is too small.
    """
    kept = [i for i, member in enumerate(members) if len(member.y)]
    taught = [members[i] for i in kept]
    weights = [min(float(member.weight.sum()), member_cap) for member in taught]
    parts = shares(weights, [owners[i] for i in kept], most=member_cap, min_members=min_members)
    if parts is None:
        return None
    sizes = [len(member.y) for member in taught]
    return replace(pool_of(taught), member=np.repeat(kept, sizes), share=np.repeat(parts, sizes))


_buffer: dict[str, list[MemberFeedback]] = {}
"""Feedback that the worker process has received so far, by lesson; at most one lesson."""


def buffer_feedback(lesson: str, feedback: Sequence[MemberFeedback]) -> int:
    """Append feedback to a lesson's buffer in this process. The buffer of an earlier lesson is discarded.

    Returns:
        Number of members in the buffer.
    """
    if lesson not in _buffer:
        _buffer.clear()
    buffered = _buffer.setdefault(lesson, [])
    buffered += feedback
    return len(buffered)


def teach_buffered(
    lesson: str,
    n_buffered: int,
    starter: Prior,
    valence: EmojiValence,
    settings: LearningSettings,
    *,
    member_cap: float,
    n_embedding: int | None = None,
) -> FittedPrior | None:
    """Fit the prior to the buffered feedback, as :func:`teach` does, and empty the buffer.

    Raises:
        RoundFailed: The buffer lacks members that were sent, because the process was restarted meanwhile.
        DeviceMissing: This machine lacks the device named in the settings.
    """
    feedback = _buffer.pop(lesson, [])
    if len(feedback) != n_buffered:
        raise RoundFailed(
            f"expected {n_buffered} members to teach the prior, found {len(feedback)}; the worker process was"
            " restarted meanwhile, and the next rebuild tries again"
        )
    return teach(feedback, starter, valence, settings, member_cap=member_cap, n_embedding=n_embedding)


def weak_odds(
    feedback: Sequence[MemberFeedback],
    starter: Prior,
    valence: EmojiValence,
    device: Device,
    n_embedding: int | None,
    *,
    min_members: int = 1,
) -> list[DoubleArray] | None:
    """Estimate, for each reply, the log odds that the member liked it, from other members' surer signs.

    Each half of the population is scored by a head fitted to the surer signs of the other half, relative to
    the mean score of the member's own replies. Replies with surer signs calibrate what a score is worth.

    Returns:
        Log-likelihood ratios, ``n`` for each member; None if there are too few surer signs, or if the score
        does not separate liked from disliked replies.
    """
    sure = [
        np.array([np.nan if (sign := sure_sign(*one, valence)) is None else sign for one in member.signs])
        for member in feedback
    ]
    heads = _halves(feedback, sure, starter, device, n_embedding, min_members)
    if heads is None:
        return None
    # A member is scored by the head of the half they are not in.
    scores = [member.X.astype(np.float64) @ heads[i] for i, member in enumerate(feedback)]
    contrasts = [own - own.mean() if len(own) else own for own in scores]
    c, y = np.concatenate(contrasts), np.concatenate(sure)
    c, y = c[~np.isnan(y)], y[~np.isnan(y)]
    order = np.lexsort((y, c))  # sums must not depend on the order of members
    c, y = c[order], y[order]
    n_liked, n_disliked = float(y.sum()), float((1 - y).sum())
    if min(n_liked, n_disliked) < SURE_LABELS:
        return None
    liked, disliked = float(y @ c) / n_liked, float((1 - y) @ c) / n_disliked
    variance = float(y @ (c - liked) ** 2 + (1 - y) @ (c - disliked) ** 2) / len(y)
    if liked <= disliked or variance <= 0:
        return None
    slope, middle = (liked - disliked) / variance, (liked + disliked) / 2
    return [slope * (own - middle) for own in contrasts]


def _halves(
    feedback: Sequence[MemberFeedback],
    sure: Sequence[DoubleArray],
    starter: Prior,
    device: Device,
    n_embedding: int | None,
    min_members: int,
) -> dict[int, DoubleArray] | None:
    """Fit a head to the surer signs of each half; for each member the other half's weights, ``d``."""
    member = np.repeat(np.arange(len(feedback)), [int((~np.isnan(own)).sum()) for own in sure])
    if not len(member):
        return None
    X: FloatArray = np.concatenate([one.X[~np.isnan(own)] for one, own in zip(feedback, sure, strict=True)])
    y = np.concatenate([own[~np.isnan(own)] for own in sure]).astype(np.float32)
    n_sure = np.bincount(member, minlength=len(feedback))
    owners = [Owner(one.person, one.guild) for one in feedback]
    kept = shares(n_sure.astype(np.float64), owners, most=float(SURE_LABELS), min_members=min_members)
    if kept is None:
        return None
    pool = Pool(X, y, np.ones(len(y), np.float32), member, share=kept[member])
    taught = teachers(pool, float(SURE_LABELS))
    halves = [taught[::2], taught[1::2]]
    if not all(halves):
        return None
    centre = np.append(starter.mean, starter.bias_mean).astype(np.float64)
    precision = mean_precision(starter, n_embedding, RIDGE)
    theta = [Pooled.of(pool, half, device).solve(centre, precision)[:-1] for half in halves]
    judged = {int(pool.member[one.rows[0]]): 1 - h for h, half in enumerate(halves) for one in half}
    return {i: theta[judged.get(i, 0)] for i in range(len(feedback))}
