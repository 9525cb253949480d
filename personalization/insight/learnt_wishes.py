"""Learnt wishes: what a member's head holds probable in named features, such as "shorter" or "no emoji".

A learnt wish is one way along an axis of style (:mod:`personalization.encoding.style_axes`). Its certainty is
the posterior probability that the member wants it, computed where the head is solved
(:mod:`personalization.solving.certainty`) and read from the head. So it changes with each round and is
forgotten with the head. ``bot.replies`` turns the names into instructions for the writer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from personalization.arrays import FloatArray
from personalization.encoding.style_axes import AXIS_OF, DIRECTIONS
from personalization.heads.heads import Head, Prior
from personalization.heads.spread import certainty_of

LEAST = 0.65
"""Weight from which a wish reaches the writer. It costs little to try one that is wrong: it changes one
candidate of four, and selection decides."""
SURE = 0.8
"""Weight from which the member is told of a wish. At most 4 of 100 members who toss coins reach it, in
``tests/unit/personalization/insight/test_learnt_wishes.py``."""
MOST = 3
"""Wishes at once."""


@dataclass(frozen=True, slots=True)
class LearntWish:
    """A wish that a head holds probable.

    Attributes:
        name: Name of the wish, a key of :data:`personalization.encoding.style_axes.AXIS_OF`.
        certainty: Posterior probability that the member wants it.
        share: Probability that the member's taste predicts their labels better than the average taste does.
    """

    name: str
    certainty: float
    share: float = 1.0

    @property
    def axis(self) -> str:
        """The axis of the wish; two wishes of one axis contradict each other."""
        return AXIS_OF[self.name]

    @property
    def weight(self) -> float:
        """The certainty if, with the rest of the share, the labels say nothing of a taste.

        The certainty alone takes each member for one with a taste. It grows with the labels of members who
        toss coins as well; the share does not.
        """
        return 0.5 + self.share * (self.certainty - 0.5)

    @property
    def is_sure(self) -> bool:
        """Whether it is certain enough to tell the member."""
        return self.weight >= SURE

    @property
    def percent(self) -> int:
        """The weight as people are told it, in percent: in steps of 5, and never 100."""
        return min(95, 5 * round(20 * self.weight))


def learnt_wishes(head: Head, prior: Prior) -> tuple[LearntWish, ...]:
    """Return what a head holds probable, the surest first, at most :data:`MOST`, one for each axis.

    Args:
        head: The head used for the member.
        prior: The prior in use. A head has no wish until the next round if it was solved under another prior,
            or before certainties were kept.
    """
    certainties = certainty_of(prior, head.spread) if head.prior_id == prior.prior_id else None
    if certainties is None:
        return ()
    found = [
        LearntWish(along.more if certain > 0 else along.less, abs(certain), head.share)
        for along, certain in zip(DIRECTIONS, certainties.tolist(), strict=True)
    ]
    likely = sorted((one for one in found if one.weight >= LEAST), key=lambda one: -one.weight)
    return tuple(likely[:MOST])


def preference_along(x: FloatArray, head: Head, average: Head) -> float:
    """Return how much more a head likes a difference ``x`` (``d``) than the average taste does, logits."""
    own = head.weights.astype(np.float64) - average.weights.astype(np.float64)  # (d,)
    return float(own @ x.astype(np.float64))
