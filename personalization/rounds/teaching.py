"""What members told -> the population prior: emoji first, then labels, then mean and covariance.

One function from top to bottom, so that it can run in a worker process and is a pure function of what
members told: emoji meanings are learnt from surer signs (thumbs, ratings) and from a head that was fitted
on those alone, then all feedback is read as labels with them, then
:func:`personalization.population.fit_prior.fit_prior` learns from the labels, and last
:mod:`personalization.population.server_shifts` what the members of a server share. Called by
:mod:`personalization.rounds.trainer`; imports no storage but the types of its records.
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
from personalization.population.fit_prior import fit_prior, mean_precision
from personalization.population.pooled import Pool, Pooled, teachers
from personalization.population.server_shifts import learn_shifts
from personalization.rounds.examples import Told, pool_of, read_labels
from personalization.settings import Device, LearningSettings

SURE_LABELS = 40
"""Surer signs of each kind, liked and disliked, that it takes to say what the population's head is worth."""
RIDGE = 100.0
"""Penalty on that head: strong, because only the order of a member's own replies is asked of it."""


@dataclass(frozen=True, eq=False, slots=True)
class Lesson:
    """What a population taught: the prior, how many members gave labels for it, and how many labels."""

    prior: Prior
    n_members: int
    n_labels: int


def teach(
    told: Sequence[Told],
    starter: Prior,
    valence: EmojiValence,
    settings: LearningSettings,
    *,
    member_cap: float,
    n_embedding: int | None = None,
) -> Lesson | None:
    """Learn the population prior from what members told. Blocks; the order of members has no effect.

    Args:
        told: Members who agreed.
        starter: What a small population stays near.
        valence: What emoji mean before anything is learnt.
        settings: Trust in each kind of feedback, minimal number of members, device.
        member_cap: Largest total weight of one member, > 0.
        n_embedding: How many of the features are the embedding.

    Returns:
        None when fewer than ``prior_min_members`` members gave a label.

    Raises:
        DeviceMissing: The named device is not in this machine.
    """
    if sum(len(member.y) > 0 for member in read_labels(told, valence, settings)) < settings.prior_min_members:
        return None
    odds = weak_odds(told, starter, valence, settings.device, n_embedding)
    uses = [
        uses_of(member.signs, valence.in_guild(member.guild), None if odds is None else odds[i])
        for i, member in enumerate(told)
    ]
    meanings = learn_meanings(uses, valence, min_members=settings.prior_min_members)
    read = read_labels(told, valence.learnt(meanings), settings)
    taught = [member for member in read if len(member.y)]
    pool = pool_of(taught)
    prior = fit_prior(
        pool,
        starter,
        member_cap=member_cap,
        device=settings.device,
        n_embedding=n_embedding,
        settings=settings.prior,
    )
    guilds = [member.guild for member in taught]
    shifts = learn_shifts(pool, guilds, prior, member_cap=member_cap, min_members=settings.prior_min_members)
    prior = replace(prior, meanings=meanings, shifts=shifts)
    return Lesson(prior, len(taught), len(pool.y))


_classroom: dict[str, list[Told]] = {}
"""Of the worker process: who is seated for the lesson that is being prepared."""


def seat(lesson: str, told: Sequence[Told]) -> int:
    """Seat members for a lesson in this process; one that was prepared before and not given is let go.

    Returns:
        How many are seated by now.
    """
    if lesson not in _classroom:
        _classroom.clear()
    seated = _classroom.setdefault(lesson, [])
    seated += told
    return len(seated)


def teach_seated(
    lesson: str,
    n_seated: int,
    starter: Prior,
    valence: EmojiValence,
    settings: LearningSettings,
    *,
    member_cap: float,
    n_embedding: int | None = None,
) -> Lesson | None:
    """Give the lesson to those who are seated, as :func:`teach`, and let them go.

    Raises:
        RoundFailed: Others are seated than were sent: the process has been started anew meanwhile.
        DeviceMissing: The named device is not in this machine.
    """
    told = _classroom.pop(lesson, [])
    if len(told) != n_seated:
        raise RoundFailed(
            f"expected {n_seated} members to teach the prior, found {len(told)}; the worker process has been"
            " started anew meanwhile, and the next rebuild tries again"
        )
    return teach(told, starter, valence, settings, member_cap=member_cap, n_embedding=n_embedding)


def weak_odds(
    told: Sequence[Told], starter: Prior, valence: EmojiValence, device: Device, n_embedding: int | None
) -> list[DoubleArray] | None:
    """Say for each reply how much better its score fits a liked reply than a disliked one of that member.

    The score is of a head fitted on the surer signs of other members (halves of the population judge each
    other), against the mean of the member's own replies; what it is worth, the replies with surer signs show.

    Returns:
        Log-likelihood ratios, ``n`` for each member; None when there are too few surer signs, or the head
        tells nothing.
    """
    sure = [
        np.array([np.nan if (sign := sure_sign(*one, valence)) is None else sign for one in member.signs])
        for member in told
    ]
    heads = _halves(told, sure, starter, device, n_embedding)
    if heads is None:
        return None
    # A member is judged by the half they are not in.
    scores = [member.X.astype(np.float64) @ heads[i] for i, member in enumerate(told)]
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
    told: Sequence[Told], sure: Sequence[DoubleArray], starter: Prior, device: Device, n_embedding: int | None
) -> dict[int, DoubleArray] | None:
    """Fit a head on the surer signs of each half of members: member -> weights to judge them by, ``d``."""
    member = np.repeat(np.arange(len(told)), [int((~np.isnan(own)).sum()) for own in sure])
    if not len(member):
        return None
    X: FloatArray = np.concatenate([one.X[~np.isnan(own)] for one, own in zip(told, sure, strict=True)])
    y = np.concatenate([own[~np.isnan(own)] for own in sure]).astype(np.float32)
    pool = Pool(X, y, np.ones(len(y), np.float32), member)
    taught = teachers(pool, 1e9)
    halves = [taught[::2], taught[1::2]]
    if not all(halves):
        return None
    centre = np.append(starter.mean, starter.bias_mean).astype(np.float64)
    precision = mean_precision(starter, n_embedding, RIDGE)
    theta = [Pooled.of(pool, half, device).solve(centre, precision)[:-1] for half in halves]
    judged = {int(pool.member[one.rows[0]]): 1 - h for h, half in enumerate(halves) for one in half}
    return {i: theta[judged.get(i, 0)] for i in range(len(told))}
