"""Frozen records that cross the storage boundary, and the identifiers in them.

No SQL and no keys here, so every package may import them. The modules are split by subject; import all names
from this package.
"""

from __future__ import annotations

from storage.records.arrival import Arrival
from storage.records.discord_events import (
    Applied,
    Cleared,
    Deleted,
    DiscordEvent,
    Observed,
    Reacted,
)
from storage.records.feedback import (
    FeedbackRow,
    FeedbackSummary,
    HeadSummary,
    Pick,
    Picked,
    PreferenceRow,
    Remark,
)
from storage.records.identifiers import DIRECT_MESSAGES, NOWHERE, MemberId, ReplyId, Who
from storage.records.learning import ChangedMember, HeadRecord, NewHead, PriorRecord, RoundRecord
from storage.records.members import Consent, DataSummary, ForgetReceipt
from storage.records.replies import (
    ANOTHER,
    EARLY,
    FALLBACK,
    FAQ_STYLE,
    UNKNOWN_STYLE,
    WAITED,
    Impression,
    PastChoice,
    Place,
    Reason,
    ReplyReason,
    ReplySummary,
    Seat,
)
from storage.records.shards import MOST_SHARDS, ServerList, Shard

__all__ = [
    "ANOTHER",
    "DIRECT_MESSAGES",
    "EARLY",
    "FALLBACK",
    "FAQ_STYLE",
    "MOST_SHARDS",
    "NOWHERE",
    "UNKNOWN_STYLE",
    "WAITED",
    "Applied",
    "Arrival",
    "ChangedMember",
    "Cleared",
    "Consent",
    "DataSummary",
    "Deleted",
    "DiscordEvent",
    "FeedbackRow",
    "FeedbackSummary",
    "ForgetReceipt",
    "HeadRecord",
    "HeadSummary",
    "Impression",
    "MemberId",
    "NewHead",
    "Observed",
    "PastChoice",
    "Pick",
    "Picked",
    "Place",
    "PreferenceRow",
    "PriorRecord",
    "Reacted",
    "Reason",
    "Remark",
    "ReplyId",
    "ReplyReason",
    "ReplySummary",
    "RoundRecord",
    "Seat",
    "ServerList",
    "Shard",
    "Who",
]
