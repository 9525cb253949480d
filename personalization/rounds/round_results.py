"""Results of a round and of a rebuild of the prior, made by :mod:`personalization.rounds.trainer`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoundReport:
    """What a round did.

    Attributes:
        version: Version of the newest heads; 0 when nothing was due.
        n_members: Members looked at.
        n_labels: Labels their heads rest on.
        n_removed: Members without a label left, whose head was removed.
        n_rolled_back: Members whose own taste did not predict their labels: the prior answers for them.
        n_unsolved: Members whose solve did not reach its tolerance (expected: 0).
        device: Where the heads were solved; empty when nothing was.
        seconds: Time it took.
    """

    version: int = 0
    n_members: int = 0
    n_labels: int = 0
    n_removed: int = 0
    n_rolled_back: int = 0
    n_unsolved: int = 0
    device: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class PriorReport:
    """What a rebuild of the prior did.

    Attributes:
        prior_id: The prior now in use.
        n_members: Members who taught it; 0 for the starter prior.
        n_labels: Labels they gave.
        changed: Whether it differs from the one before; then every member is due.
    """

    prior_id: str
    n_members: int
    n_labels: int
    changed: bool
