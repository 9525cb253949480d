"""Estimates what each kind of candidate brings, from the log of past choices: part of the uplift report.

A kind is an option of one part of a seat: a style, a writer, a learnt wish, examples. Members who like a kind
are dealt more of it, and the ranker posts what it expects to be liked. So a plain share of likes would favour
kinds that are dealt to contented members. Each posted reply is weighed by one over the probability that its
candidate was posted, times one over the share with which its option was dealt. This estimates the share of
likes of a candidate of each kind, if kinds were dealt by lot and candidates posted by lot. Replies of members
who had no choice between options (a share of 1), and replies of writers that took over, are left out.

Source: Horvitz and Thompson (1952); Swaminathan and Joachims (2015), self-normalized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalization.arrays import BoolArray, DoubleArray
from personalization.insight.arm_book import LEARNT
from personalization.insight.off_policy import Estimate, Log, difference_of, value_of
from personalization.ranking.dealing import EXAMPLES, PARTS, PLAIN, SHOWN, STYLE, WISH, WRITER
from storage.records import Seat


@dataclass(frozen=True, slots=True)
class ArmLift:
    """Estimates for one option of one part.

    Attributes:
        part: One of :data:`~personalization.ranking.dealing.PARTS`.
        option: Name of the style or the writer, ``learnt`` or ``shown``. Learnt wishes differ between
            members, so a single one cannot be compared with plain candidates.
        n_replies: Posted replies of this kind behind the estimates.
        liked: Share of its replies that would be liked.
        lift: The same minus that of the other options of the part, each with the same weight.
    """

    part: str
    option: str
    n_replies: int
    liked: Estimate
    lift: Estimate


def lifts_of(log: Log, liked: BoolArray, seats: Sequence[Seat | None]) -> tuple[ArmLift, ...]:
    """Estimate the lift of each option that was dealt in place of another one.

    Args:
        log: Posted replies, ``n``.
        liked: Whether each was liked, ``n``.
        seats: Seat of each posted candidate, ``n``; empty: not known.
    """
    if not seats:
        return ()
    posted, rewards = log.of_posted(log.propensities), liked.astype(np.float64)
    found: list[ArmLift] = []
    for place, part in enumerate(PARTS):
        share = np.array([seat.shares[place] if seat and seat.shares else 0.0 for seat in seats])
        here = (share > 0) & (share < 1) & (posted > 0)
        options = np.array([_option(part, seat) for seat in seats], dtype=object)[here]
        own = Log(posted[here, None], np.zeros(int(here.sum()), np.int64), log.member[here])
        weights = 1 / share[here]
        for option in sorted(set(options) - {PLAIN}):
            is_it = options == option
            if is_it.all():
                continue
            target, other = (_target(weights, which) for which in (is_it, ~is_it))
            none: DoubleArray = np.zeros_like(target)
            found.append(
                ArmLift(
                    part,
                    option,
                    int(is_it.sum()),
                    value_of(own, rewards[here], target, none).snips,
                    difference_of(own, rewards[here], target, other, none).snips,
                )
            )
    return tuple(found)


def _target(weights: DoubleArray, which: BoolArray) -> DoubleArray:
    return (weights * which)[:, None]  # (n, 1)


def _option(part: str, seat: Seat | None) -> str:
    if seat is None:
        return PLAIN
    named = {
        STYLE: seat.style,
        WRITER: seat.writer,
        WISH: LEARNT if seat.wish else PLAIN,
        EXAMPLES: SHOWN if seat.examples else PLAIN,
    }
    return named[part]
