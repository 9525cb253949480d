"""Adoption: what members taught replaces what stood before only where held-out members are ranked better.

A fit of the prior proposes a mean and directions in which members differ, and fewer loud features. Before it,
the starter answered. Each member is held out once, and heads of few and of many labels are solved under both.
Where the proposal does not order the member's other replies better, by some standard errors over members, the
starter's part stays. So a young server does not pay for what a few labels seem to say. How much plain spread
is added to the learnt directions is chosen by the same members.

Called by :mod:`personalization.population.fit_prior`; NumPy on top of
:mod:`personalization.population.calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from personalization.arrays import DoubleArray, IntArray
from personalization.heads.heads import Prior
from personalization.population.calibration import MEMBERS_TO_VALIDATE, Fold, asked_by_k
from personalization.population.outcomes import Outcome, rank_losses
from personalization.population.pooled import Pool
from personalization.settings import Device
from personalization.solving.gate import learn_heads

SPREADS = (0.0, 0.1, 0.3, 1.0)
"""Shares of the starter's plain spread that may be added to the learnt directions."""
NEEDED, NEEDED_BY_FEW = 1.0, 2.0
"""Gain on held-out members, in standard errors, from which a proposal is adopted; by few members, the second:
several proposals are tried, and the error itself is uncertain."""
MEAN_NEEDED = 0.0
"""The same for the mean, by many members: its penalty is chosen on them, so a wrong one moves little."""
SOME_LOUD = (0.2, 0.1)
"""Probabilities of one and of two loud features that are tried instead of the starter's."""
MOST_ASKED = 60
"""Most members of a fold who are asked, so that the choice costs little beside the fit."""


@dataclass(frozen=True, slots=True)
class Form:
    """How the taught prior and the starter make the prior in use.

    Attributes:
        spread: Share of the starter's plain spread beside the taught directions; None: the starter's
            directions and spread stay.
        loud: Probabilities of one and of two loud features; None: no feature is.
    """

    spread: float | None
    loud: tuple[float, float] | None

    def of(self, taught: Prior, starter: Prior) -> Prior:
        """Make the prior of this form; its mean is the taught one."""
        made = replace(taught, loud=None)
        if self.loud is not None:
            made = replace(taught, loud=starter.loud, loud_chances=self.loud)
        if self.spread is None:
            return replace(made, factor=starter.factor, variance=starter.variance)
        return replace(made, variance=(self.spread * starter.variance).astype(np.float32))


def before(starter: Prior) -> Form:
    """Return the form that keeps all of the starter but its mean."""
    return Form(None, None if starter.loud is None else starter.loud_chances)


def adopted(
    pool: Pool, validated: Sequence[Fold], priors: Sequence[Prior], starter: Prior, device: Device
) -> Form:
    """Choose the form that ranks held-out members best.

    Args:
        pool: The labels of all members.
        validated: The folds, at least one.
        priors: The prior that the members of each fold taught.
        starter: What stood before.
        device: Where heads are solved.

    Raises:
        DeviceMissing: This machine does not have the named device.
    """
    few = [replace(fold, asking=fold.asking[:MOST_ASKED]) for fold in validated]

    def losses(form: Form) -> Votes:
        tried = [form.of(prior, starter) for prior in priors]
        return losses_by_member(asked_by_k(pool, few, tried, device, learn_heads)[1:])

    n_members = sum(len(fold.asking) for fold in validated)
    needed = NEEDED if n_members >= MEMBERS_TO_VALIDATE else NEEDED_BY_FEW
    form = before(starter)
    loss = losses(form)
    if not len(loss.member):  # members of too few labels; a starter without directions has none to keep
        return form if starter.factor is not None else replace(form, spread=SPREADS[-1])
    louds = [] if starter.loud is None else [SOME_LOUD, None]
    spreads = SPREADS if starter.variance.any() else SPREADS[:1]
    steps: tuple[Callable[[Form], list[Form]], ...] = (
        lambda stands: [replace(stands, loud=loud) for loud in louds],
        lambda stands: [replace(stands, spread=spread) for spread in spreads],
        lambda stands: [replace(stands, loud=loud) for loud in louds if stands.spread is not None],
    )
    for step in steps:
        tried = [(one, losses(one)) for one in step(form)]
        if tried:
            best, found = min(tried, key=lambda pair: pair[1].mean())
            if gains(found.over(loss), needed):
                form, loss = best, found
    return form


@dataclass(frozen=True, eq=False, slots=True)
class Votes:
    """Numbers of held-out members, for each number of labels.

    Attributes:
        values: Losses or gains, ``n``.
        member: Whose they are, ``n``.
        share: How much this member counts, ``n``: less for many accounts of one person, for large servers,
            and for members who contradict the taste that the others share.
    """

    values: DoubleArray
    member: IntArray
    share: DoubleArray

    def mean(self) -> float:
        """Return the mean by share."""
        return float(np.average(self.values, weights=self.share))

    def over(self, other: Votes) -> Votes:
        """Return how much smaller these losses are than others of the same members."""
        return replace(self, values=other.values - self.values)


def losses_by_member(by_k: Sequence[Outcome | None]) -> Votes:
    """Return the ranking losses of held-out members, one for each number of labels."""
    known = [outcome for outcome in by_k if outcome is not None]
    found = [np.zeros(0), *(rank_losses(outcome.base + outcome.own, outcome) for outcome in known)]
    firsts = [np.unique(outcome.member, return_index=True) for outcome in known]
    member = [np.zeros(0, np.int64), *(first for first, _ in firsts)]
    share = [np.zeros(0), *(one.share[rows] for one, (_, rows) in zip(known, firsts, strict=True))]
    losses = np.concatenate(found)
    here = ~np.isnan(losses)
    return Votes(losses[here], np.concatenate(member)[here], np.concatenate(share)[here].astype(np.float64))


def gains(gain: Votes, needed: float) -> bool:
    """Return whether a mean gain exceeds ``needed`` standard errors over members.

    Source: Liang and Zeger (1986), the sandwich estimate for a mean, here by share, with the effective number
    of members.
    """
    total = gain.share.sum()
    if total <= 0:
        return False
    mean = gain.mean()
    _, index = np.unique(gain.member, return_inverse=True)
    sums = np.bincount(index, weights=gain.share * (gain.values - mean))
    each = np.bincount(index, weights=gain.share)
    g = float(each.sum() ** 2 / (each**2).sum())
    if g < 1 + 1e-9:
        return False  # the error of one member is unknown
    return mean > needed * float(np.sqrt((sums**2).sum() * g / (g - 1))) / float(total)
