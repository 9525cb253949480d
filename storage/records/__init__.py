"""The frozen records that cross the storage boundary, and the identifiers in them.

No SQL and no keys here, so that every package may import it. Identifiers and what Discord tells stand in
files of their own and are imported from here like the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.records.discord_events import Applied as Applied
from storage.records.discord_events import Cleared as Cleared
from storage.records.discord_events import Deleted as Deleted
from storage.records.discord_events import DiscordEvent as DiscordEvent
from storage.records.discord_events import Observed as Observed
from storage.records.discord_events import Reacted as Reacted
from storage.records.identifiers import DIRECT_MESSAGES as DIRECT_MESSAGES
from storage.records.identifiers import MemberId as MemberId
from storage.records.identifiers import ReplyId as ReplyId
from storage.records.identifiers import Who as Who

FALLBACK = "fallback"
"""Policy name of a reply that went out unranked."""

ANOTHER = "another:"
"""What the policy's name of a reply begins with that was asked for in place of one before it."""
FAQ_STYLE = "faq"
"""Style name of a candidate that is an answer from the server's ``/faq``."""


class Consent(StrEnum):
    """What a member decided about being learnt from."""

    UNKNOWN = "unknown"
    """Never asked, or never answered. Nothing is stored."""
    AGREED = "agreed"
    REFUSED = "refused"
    """Said no, or withdrew. Only a keyed pseudonym remembers it, so that nobody asks again."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reply stands in Discord: its channel and the messages it was split into, in order."""

    channel_id: int
    message_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a candidate was chosen, in numbers alone: no text, and nobody's taste but the asker's.

    Attributes:
        parts: Name, what it added to the score (logits), and how the candidate differed from its rivals; the
            largest first. They sum to the score.
        uncertainty: Standard deviation of the score, logits.
        n_labels: Labels the head rests on; 0 means that the prior answered.
    """

    parts: tuple[tuple[str, float, float], ...]
    uncertainty: float
    n_labels: int


@dataclass(frozen=True, slots=True)
class ReplyReason:
    """What the asker may be told about the choice of one reply.

    Attributes:
        n_candidates: How many candidates there were (k).
        style: Style prompt of the posted one.
        propensity: With what probability it was posted.
        head_version: As in :class:`Impression`.
        reason: None when ranking failed, or for replies from before reasons were kept.
    """

    reply_id: ReplyId
    created_at: datetime
    n_candidates: int
    style: str
    propensity: float
    head_version: int
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Impression:
    """A posted candidate with its rivals, scores and propensities. Holds no word that a member wrote.

    Attributes:
        candidates: All candidate texts, in the order they were generated (k).
        styles: Name of the style prompt behind each candidate (k).
        chosen: Index of the posted candidate.
        scores: The policy's input, one per candidate (k).
        prior_scores: What that input would have been for a member without labels (k).
        propensities: Probability of posting each candidate (k), sums to 1.
        policy: Name of the policy, :data:`FALLBACK` when ranking failed, with :data:`ANOTHER` in front where
            it chose among what was left after an answer before.
        head_version: Round that made the head which ranked; 0 means the prior.
        feature_id: Which encoder and style features made ``features``.
        features: Features of the posted candidate, d little-endian float32; empty when ranking failed.
        reason: Why the posted one was chosen; None when ranking failed.
    """

    candidates: tuple[str, ...]
    styles: tuple[str, ...]
    chosen: int
    scores: tuple[float, ...]
    prior_scores: tuple[float, ...]
    propensities: tuple[float, ...]
    policy: str
    head_version: int
    feature_id: str
    features: bytes
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class ReplySummary:
    """What a member may be shown of one reply: id, time, the posted text if still kept, own feedback."""

    reply_id: ReplyId
    created_at: datetime
    text: str | None
    reactions: tuple[str, ...]
    rating: int | None


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """What a member may be shown of their head.

    Attributes:
        n_labels: Labels it rests on.
        trained_at: When it was made, aware UTC.
        rolled_back: Whether the average taste answers, because the own one did not predict better.
    """

    n_labels: int
    trained_at: datetime
    rolled_back: bool


@dataclass(frozen=True, slots=True)
class FeedbackSummary:
    """What a member may be shown of their own feedback in one server.

    Attributes:
        n_replies: Replies they gave feedback on.
        latest: The latest of it, newest first; what was undone is left out.
        head: None before there is one.
        n_preferences: How often they chose between two replies, or asked for another one.
        latest_preference: Number of the latest of these choices.
        paused: Whether nothing new is recorded at present, because they paused learning.
    """

    n_replies: int
    latest: tuple[ReplySummary, ...]
    head: HeadSummary | None
    n_preferences: int = 0
    latest_preference: int | None = None
    paused: bool = False


@dataclass(frozen=True, slots=True)
class PastChoice:
    """How one reply was chosen, and what its asker made of it.

    Attributes:
        member_id: The asker.
        chosen: As in :class:`Impression`.
        scores: As in :class:`Impression` (k).
        prior_scores: As in :class:`Impression` (k).
        propensities: As in :class:`Impression` (k).
        policy: As in :class:`Impression`.
        reactions: The asker's emoji on it that stand now, sorted.
        rating: The asker's, 1 to 5, or None.
    """

    member_id: MemberId
    chosen: int
    scores: tuple[float, ...]
    prior_scores: tuple[float, ...]
    propensities: tuple[float, ...]
    policy: str
    reactions: tuple[str, ...]
    rating: int | None


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    """All feedback of one member on one reply, with what training needs to know of the reply.

    Attributes:
        reply_id: The reply.
        reactions: The emoji that stand now, over all chunks, sorted; custom emoji as ``:id``.
        rating: 1 to 5 from ``/feedback``, or None.
        feature_id: Which encoder and style features made ``features``.
        features: d little-endian float32 of the reply's own text.
        changed_at: When the feedback last changed, aware UTC.
        guild: Pseudonym of the member's server.
    """

    reply_id: ReplyId
    reactions: tuple[str, ...]
    rating: int | None
    feature_id: str
    features: bytes
    changed_at: datetime
    guild: bytes = b""


class Picked(StrEnum):
    """What a member said by a choice between two replies."""

    FIRST = "first"
    SECOND = "second"
    EQUAL = "equal"
    AGAIN = "again"
    """They asked for another answer in place of the first; what they think of both, their feedback says."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A choice between two candidates, as a member made it. Holds no text.

    Attributes:
        picked: Not :attr:`Picked.AGAIN`.
        feature_id: Which encoder and style features made both.
        first: Features of the one, d little-endian float32.
        second: Features of the other.
        reply_id: The reply whose candidates they were; None where none was posted.
        candidates: Their indices among its candidates.
    """

    picked: Picked
    feature_id: str
    first: bytes
    second: bytes
    reply_id: ReplyId | None = None
    candidates: tuple[int, int] = (0, 1)


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A choice between two replies, with what training needs to know of them.

    Attributes:
        preference_id: Running number.
        picked: What was said.
        replies: The first and the second reply, where they were posted one after the other
            (:attr:`Picked.AGAIN`).
        feature_id: Which encoder and style features made both.
        first: Features of the first, d little-endian float32.
        second: Features of the second.
        told_at: When, aware UTC.
        guild: Pseudonym of the member's server.
    """

    preference_id: int
    picked: Picked
    replies: tuple[ReplyId, ReplyId] | None
    feature_id: str
    first: bytes
    second: bytes
    told_at: datetime
    guild: bytes = b""


@dataclass(frozen=True, slots=True)
class Remark:
    """What a member told of a reply that they disliked, on purpose; never learnt from.

    Attributes:
        reasons: Names of what was wrong.
        words: In their own words; None: none, or not kept any more.
    """

    reasons: tuple[str, ...]
    words: str | None


@dataclass(frozen=True, slots=True)
class ChangedMember:
    """A member whose labels changed, and the sequence number of the latest change."""

    member_id: MemberId
    changed_seq: int


@dataclass(frozen=True, slots=True)
class HeadRecord:
    """A stored head: the bytes of :meth:`personalization.heads.heads.Head.to_bytes` and where they came from.

    Attributes:
        version: The round that made it, > 0.
        n_labels: Labels it rests on.
        body: The head's bytes, opened.
        trained_at: Aware UTC.
        rolled_back: Whether the prior answers, because the member's own taste did not predict their labels.
    """

    version: int
    n_labels: int
    body: bytes
    trained_at: datetime
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class NewHead:
    """A head as a round hands it over. ``body`` None removes the head: no label is left to learn from.

    ``rolled_back`` as in :class:`HeadRecord`.
    """

    member_id: MemberId
    body: bytes | None
    n_labels: int
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """What is remembered of one round; no personal data.

    Attributes:
        cursor: Sequence number of the last change that the round took in.
        device: Where the heads were solved.
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


@dataclass(frozen=True, slots=True)
class DataSummary:
    """How much is kept about one member in one server."""

    agreed_at: datetime | None
    n_replies: int
    n_feedback: int
    head_version: int | None
    head_labels: int
    n_preferences: int = 0
    n_remarks: int = 0


@dataclass(frozen=True, slots=True)
class ForgetReceipt:
    """What a forget removed.

    Attributes:
        member_ids: The pseudonyms that are gone; drop them from every cache.
        affected: Other members who lost labels because the exchange was the forgotten member's; they are due
            for the next round.
        n_replies: Replies deleted.
        n_feedback: Feedback rows deleted, the member's own and others' on the member's replies.
        n_heads: Heads deleted.
        n_preferences: Choices between two replies deleted.
        n_remarks: Private words about replies deleted.
        finished_at: Aware UTC.
        n_keys: Data keys destroyed.
        n_traces: What a look for the member's names found afterwards; anything but 0 is a fault, or another
            program that reads the files.
        files_searched: Whether that look read the files byte by byte, or asked the tables alone.
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
