"""Records of learning: changed members, heads, rounds and the prior.

No SQL and no keys here. Import them from :mod:`storage.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage.records.identifiers import MemberId


@dataclass(frozen=True, slots=True)
class ChangedMember:
    """A member whose labels changed, and the sequence number of the latest change."""

    member_id: MemberId
    changed_seq: int


@dataclass(frozen=True, slots=True)
class HeadRecord:
    """A stored head: the bytes of :meth:`personalization.heads.heads.Head.to_bytes` and their origin.

    Attributes:
        version: The round that made it, > 0.
        n_labels: Labels behind it.
        body: Decrypted bytes of the head.
        trained_at: Aware UTC.
        rolled_back: Whether the prior answers, because the head did not predict the member's labels better.
    """

    version: int
    n_labels: int
    body: bytes
    trained_at: datetime
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class NewHead:
    """A new head from a round, to be stored.

    Attributes:
        body: Bytes of the head; None deletes the stored head, because no label is left to learn from.
        rolled_back: As in :class:`HeadRecord`.
    """

    member_id: MemberId
    body: bytes | None
    n_labels: int
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """The record of one round. Holds no personal data.

    Attributes:
        cursor: Sequence number of the last change that the round processed.
        device: Device that solved the heads.
        n_rolled_back: Heads of this round that were rolled back to the prior.
    """

    started_at: datetime
    finished_at: datetime
    cursor: int
    n_members: int
    n_labels: int
    device: str
    n_rolled_back: int = 0


@dataclass(frozen=True, slots=True)
class PriorRecord:
    """A population prior learnt from consenting members: its bytes, and how many members taught it."""

    body: bytes
    n_members: int
    trained_at: datetime
