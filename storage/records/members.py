"""Records about one member: consent, counts of stored data, and the receipt of an erasure.

No SQL and no keys here. Import them from :mod:`storage.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.records.identifiers import MemberId


class Consent(StrEnum):
    """A member's decision about being learnt from."""

    UNKNOWN = "unknown"
    """The member was not asked or did not answer. Nothing is stored."""
    AGREED = "agreed"
    REFUSED = "refused"
    """The member refused or withdrew. Only a keyed pseudonym is kept, so that the bot does not ask again."""


@dataclass(frozen=True, slots=True)
class DataSummary:
    """Counts of the data stored about one member in one server.

    Attributes:
        agreed_at: When the member agreed, aware UTC; None if the member does not agree now.
        head_version: Round that made the member's head; None without a head.
    """

    agreed_at: datetime | None
    n_replies: int
    n_feedback: int
    head_version: int | None
    head_labels: int
    n_preferences: int = 0
    n_remarks: int = 0


@dataclass(frozen=True, slots=True)
class ForgetReceipt:
    """Result of an erasure.

    Attributes:
        member_ids: Pseudonyms of the erased members; evict them from every cache.
        affected: Other members who lost feedback because the reply was an erased member's; they are due for
            the next round.
        n_replies: Replies deleted.
        n_feedback: Feedback rows deleted: the member's own, and others' feedback on the member's replies.
        n_heads: Heads deleted.
        n_preferences: Choices between two replies deleted.
        n_remarks: Private remarks about replies deleted.
        finished_at: Aware UTC.
        n_keys: Data keys destroyed.
        n_traces: Traces found by the search after the erasure. Any number but 0 is a fault, or another
            program that reads the files.
        files_searched: Whether the files were searched byte by byte, or only the tables.
        returned: Those of the members who agreed again since the erasure that is repeated; their consent
            stays.
    """

    member_ids: tuple[MemberId, ...]
    affected: tuple[MemberId, ...]
    n_replies: int
    n_feedback: int
    n_heads: int
    finished_at: datetime
    n_keys: int = 0
    n_traces: int = 0
    files_searched: bool = False
    n_preferences: int = 0
    n_remarks: int = 0
    returned: tuple[MemberId, ...] = ()
