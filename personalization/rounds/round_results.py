"""Results of a round and of a rebuild of the prior, and of the parts of a round.

Made by :mod:`personalization.rounds.trainer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from personalization.rounds.examples import Labelled
from storage.records import ChangedMember, NewHead


@dataclass(frozen=True, slots=True)
class RoundReport:
    """Result of one round.

    Attributes:
        version: Version of the newest heads; 0 when nothing was due.
        n_members: Members whose labels were read.
        n_labels: Labels that the new heads were solved from.
        n_removed: Members with no label left, whose head was removed.
        n_rolled_back: Members whose head did not predict their own labels, so the prior answers for them.
        n_unsolved: Members whose solve did not reach its tolerance (expected: 0).
        device: Device on which the heads were solved; empty if none was solved.
        seconds: Duration of the round.
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
    """Result of one rebuild of the population prior.

    Attributes:
        prior_id: The prior now in use.
        n_members: Members it was fitted to; 0 for the starter prior.
        n_labels: Labels it was fitted to.
        changed: Whether it differs from the previous prior. If so, every member is due for training.
    """

    prior_id: str
    n_members: int
    n_labels: int
    changed: bool


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Labels of some members of a chunk.

    Attributes:
        changed: The members of the whole chunk.
        started_at: When the chunk was begun.
        labelled: Members with their labels.
        is_last: Whether it is the last batch of its chunk.
    """

    changed: Sequence[ChangedMember]
    started_at: datetime
    labelled: list[Labelled] = field(default_factory=list[Labelled])
    is_last: bool = False


@dataclass(slots=True)
class ChunkResult:
    """Heads and counts of the chunk that is being solved."""

    heads: list[NewHead] = field(default_factory=list[NewHead])
    n_removed: int = 0
    n_labels: int = 0
    n_unsolved: int = 0
    device: str = ""
