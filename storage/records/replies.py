"""Records about posted replies: place, impression, and the reason for the choice.

No SQL and no keys here. Import them from :mod:`storage.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from storage.records.identifiers import MemberId, ReplyId

FALLBACK = "fallback"
"""Policy name of a reply that was posted without a ranking."""

ANOTHER = "another:"
"""Prefix of the policy name of another answer, requested in place of an earlier one."""
EARLY = "early:"
"""Prefix of the policy name of a reply for which not all candidates were awaited."""
WAITED = "waited:"
"""Prefix of the policy name of a reply that could have been posted early, but waited for comparison."""
FAQ_STYLE = "faq"
"""Style name of a candidate that is an answer from the server's ``/faq``."""

UNKNOWN_STYLE = "unknown"
"""Style name of a reply that was found in Discord after a crash."""


@dataclass(frozen=True, slots=True)
class Place:
    """Location of a reply in Discord: its channel and the messages it was split into, in order."""

    channel_id: int
    message_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """Explanation of a choice, in numbers only. It holds no text and only the asker's taste.

    Attributes:
        parts: (name, contribution to the score in logits, difference between the candidate and its rivals),
            the largest contribution first. The contributions sum to the score.
        uncertainty: Standard deviation of the score, logits.
        n_labels: Labels behind the head; 0 means that the prior answered.
    """

    parts: tuple[tuple[str, float, float], ...]
    uncertainty: float
    n_labels: int


@dataclass(frozen=True, slots=True)
class ReplyReason:
    """Explanation of the choice of one reply, shown to the asker.

    Attributes:
        n_candidates: Number of candidates (k).
        style: Style prompt of the posted candidate.
        propensity: Probability with which the candidate was posted.
        head_version: As in :class:`Impression`.
        reason: None when ranking failed, and for replies from before reasons were stored.
    """

    reply_id: ReplyId
    created_at: datetime
    n_candidates: int
    style: str
    propensity: float
    head_version: int
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Seat:
    """The kind of one candidate: what it was dealt, and with which probabilities.

    Attributes:
        place: Place among the candidates that were requested together, from 0 on.
        style: Name of its style, as configured.
        writer: Name of the language model that wrote it; empty: the only one.
        wish: Name of the learnt wish in its prompt; empty: none.
        examples: Whether liked replies of the member stood in its prompt as examples.
        shares: Probability of its style, its writer, its wish and its examples; empty: not known, because
            another writer took over.
    """

    place: int
    style: str = ""
    writer: str = ""
    wish: str = ""
    examples: bool = False
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Impression:
    """A posted candidate with its rivals, scores and propensities. Holds no word that a member wrote.

    Attributes:
        candidates: All candidate texts, in the order of generation (k).
        styles: Name of the style prompt behind each candidate (k).
        chosen: Index of the posted candidate.
        scores: Input of the policy, one per candidate (k).
        prior_scores: The same input for a member without labels (k).
        propensities: Probability of posting each candidate (k); they sum to 1.
        policy: Name of the policy; :data:`FALLBACK` when ranking failed. The prefix :data:`ANOTHER` marks a
            choice among the candidates that an earlier answer left; :data:`EARLY` and :data:`WAITED` belong
            to the early stop (:mod:`personalization.ranking.early_stop`).
        head_version: Round that made the ranking head; 0 means the prior.
        feature_id: Encoder and style features that made ``features``.
        features: Features of the posted candidate, d little-endian float32; empty when ranking failed.
        reason: Explanation of the choice; None when ranking failed.
        quotes: Whether the posted candidate may repeat words of the member; such a reply is never shown to
            the model as an example.
        seat: Kind of the posted candidate; None for answers from ``/faq`` and texts found in Discord.
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
    quotes: bool = True
    seat: Seat | None = None


@dataclass(frozen=True, slots=True)
class ReplySummary:
    """Summary of one reply for a member: id, time, the posted text while it is kept, own feedback.

    ``quotes`` is that of the :class:`Impression`.
    """

    reply_id: ReplyId
    created_at: datetime
    text: str | None
    reactions: tuple[str, ...]
    rating: int | None
    quotes: bool = True


@dataclass(frozen=True, slots=True)
class PastChoice:
    """The choice of one reply, and the asker's feedback on it.

    Attributes:
        member_id: The asker.
        chosen: As in :class:`Impression`.
        scores: As in :class:`Impression` (k).
        prior_scores: As in :class:`Impression` (k).
        propensities: As in :class:`Impression` (k).
        policy: As in :class:`Impression`.
        reactions: The asker's current emoji on the reply, sorted.
        rating: The asker's rating, 1 to 5, or None.
        style: Style prompt of the posted candidate.
        seat: As in :class:`Impression`.
        guild: Pseudonym of the asker's server.
        person: Pseudonym of the asker over all servers.
    """

    member_id: MemberId
    chosen: int
    scores: tuple[float, ...]
    prior_scores: tuple[float, ...]
    propensities: tuple[float, ...]
    policy: str
    reactions: tuple[str, ...]
    rating: int | None
    style: str = ""
    seat: Seat | None = None
    guild: bytes = b""
    person: bytes = b""
