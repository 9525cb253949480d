"""Records of what members gave: feedback rows, choices between two replies, private remarks, a summary.

No SQL and no keys here. Import them from :mod:`storage.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from storage.records.identifiers import ReplyId
from storage.records.replies import ReplySummary


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """Summary of a member's head, shown to that member.

    Attributes:
        n_labels: Labels behind it.
        trained_at: When it was made, aware UTC.
        rolled_back: Whether the prior answers, because the member's own head did not predict better.
    """

    n_labels: int
    trained_at: datetime
    rolled_back: bool


@dataclass(frozen=True, slots=True)
class FeedbackSummary:
    """Summary of a member's own feedback in one server, shown to that member.

    Attributes:
        n_replies: Replies with the member's feedback.
        latest: The latest of those that answer the member, newest first; undone feedback is left out.
        head: None until a round made one.
        n_preferences: The member's choices between two replies, and requests for another answer.
        latest_preference: Number of the latest of these choices.
        paused: Whether the member paused learning, so that nothing new is recorded.
    """

    n_replies: int
    latest: tuple[ReplySummary, ...]
    head: HeadSummary | None
    n_preferences: int = 0
    latest_preference: int | None = None
    paused: bool = False


class FeedbackRow(NamedTuple):
    """All feedback of one member on one reply, with the features that training needs.

    A tuple, because a round creates one for every label.

    Attributes:
        reply_id: The reply.
        reactions: The current emoji over all chunks, sorted; custom emoji as ``:id``.
        rating: 1 to 5 from ``/feedback``, or None.
        feature_id: Encoder and style features that made ``features``.
        features: Features of the reply's own text, d little-endian float32.
        changed_at: When the feedback last changed, aware UTC.
        guild: Pseudonym of the member's server.
        person: Pseudonym of the person over all servers.
    """

    reply_id: ReplyId
    reactions: tuple[str, ...]
    rating: int | None
    feature_id: str
    features: bytes
    changed_at: datetime
    guild: bytes = b""
    person: bytes = b""


class Picked(StrEnum):
    """Outcome of a choice between two replies."""

    FIRST = "first"
    SECOND = "second"
    EQUAL = "equal"
    AGAIN = "again"
    """The member requested another answer in place of the first. The label comes from feedback on both."""


@dataclass(frozen=True, slots=True)
class Pick:
    """A member's choice between two candidates. Holds no text.

    Attributes:
        picked: Any outcome but :attr:`Picked.AGAIN`.
        feature_id: Encoder and style features that made both.
        first: Features of the first candidate, d little-endian float32.
        second: Features of the second candidate, d little-endian float32.
        reply_id: The reply that the candidates were generated for; None if none was posted.
        candidates: Indices of the two among the reply's candidates.
    """

    picked: Picked
    feature_id: str
    first: bytes
    second: bytes
    reply_id: ReplyId | None = None
    candidates: tuple[int, int] = (0, 1)


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A stored choice between two replies, with the features that training needs.

    Attributes:
        preference_id: Sequence number.
        picked: The outcome.
        replies: The first and the second reply if they were posted one after the other
            (:attr:`Picked.AGAIN`), else None.
        feature_id: Encoder and style features that made both.
        first: Features of the first, d little-endian float32.
        second: Features of the second, d little-endian float32.
        told_at: When the member chose, aware UTC.
        guild: Pseudonym of the member's server.
        tap: Name of the pair, if it is one of the six taps.
        earlier: What the member picked about this pair before; it counts again when this choice is undone.
    """

    preference_id: int
    picked: Picked
    replies: tuple[ReplyId, ReplyId] | None
    feature_id: str
    first: bytes
    second: bytes
    told_at: datetime
    guild: bytes = b""
    tap: str | None = None
    earlier: Picked | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """A private note on what was wrong with a reply. The member sends it on purpose; nothing learns from it.

    Attributes:
        reasons: Names of the reasons that the member ticked.
        words: The member's own words; None if there are none or they expired.
    """

    reasons: tuple[str, ...]
    words: str | None
