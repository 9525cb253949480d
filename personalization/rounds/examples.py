"""Conversions between stored records and arrays: feedback to labelled examples, solved heads to records.

First :func:`decode_feedback` turns rows into arrays, then :func:`read_labels` derives labels, then
:func:`pages` and :func:`examples_of` pad them for the solve, and last :func:`new_heads` packs the result.
Pure functions, called in a thread by :mod:`personalization.rounds.trainer`. Of storage it imports only record
types.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from personalization.arrays import FloatArray
from personalization.heads.heads import FeatureSpace, HeadBank
from personalization.labels.emoji_meanings import own_meanings
from personalization.labels.labels import (
    EmojiValence,
    Label,
    faded,
    label_of_another,
    label_of_pair,
)
from personalization.labels.plugged import Labeller
from personalization.population.pooled import Pool
from personalization.settings import LearningSettings
from personalization.solving.training import Examples
from storage.records import FeedbackRow, MemberId, NewHead, Picked, PreferenceRow, ReplyId

PAGE_BYTES = 8 * 2**20
"""Bytes of padded features in one call to the worker; copying more would block the event loop too long."""


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """One member's labels, oldest first: features ``n x d``, values ``n``, weights ``n``, all float32.

    The last ``n_pairs`` labels compare two replies; their features are the difference of the two replies'.
    ``guild`` is the pseudonym of the member's server, ``person`` that of the person over all servers.
    """

    member_id: MemberId
    X: FloatArray
    y: FloatArray
    weight: FloatArray
    guild: bytes = b""
    n_pairs: int = 0
    person: bytes = b""


@dataclass(frozen=True, eq=False, slots=True)
class MemberFeedback:
    """One member's feedback as arrays, oldest reply first, before labels are derived from it.

    Attributes:
        member_id: The member.
        X: Features of the replies, ``n x d`` float32.
        signs: Reactions on each reply, and its rating or None (n).
        changed_at: Time of the last change of each reply's feedback (n), aware UTC.
        guild: Pseudonym of the member's server.
        reply_ids: Ids of the replies (n); may be empty if no pair refers to them.
        pairs: The member's choices between two replies, oldest first.
        person: Pseudonym of the person over all servers.
    """

    member_id: MemberId
    X: FloatArray
    signs: tuple[tuple[tuple[str, ...], int | None], ...]
    changed_at: tuple[datetime, ...]
    guild: bytes = b""
    reply_ids: tuple[ReplyId, ...] = ()
    pairs: tuple[Pair, ...] = ()
    person: bytes = b""


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """One choice between two replies, before a label is derived from it.

    Attributes:
        x: Features of the second reply minus those of the first, ``d`` float32.
        picked: The choice.
        replies: Ids of both replies if the second was requested as another answer in place of the first.
        told_at: Time of the choice, aware UTC.
        tap: Whether it is one of the six taps.
    """

    x: FloatArray
    picked: Picked
    replies: tuple[ReplyId, ReplyId] | None
    told_at: datetime
    tap: bool = False


def decode_feedback(
    member_ids: Sequence[MemberId],
    feedback: Mapping[MemberId, Sequence[FeedbackRow]],
    features: FeatureSpace,
    preferences: Mapping[MemberId, Sequence[PreferenceRow]] | None = None,
) -> list[MemberFeedback]:
    """Decode the feedback of members into arrays; rows that were stored for other features are skipped.

    Args:
        member_ids: The members, in the order of the result.
        feedback: Rows by member, oldest reply first.
        features: The features in use.
        preferences: Choices between two replies by member, oldest first.
    """
    chosen = preferences or {}
    return [
        _decoded(member_id, feedback.get(member_id, ()), chosen.get(member_id, ()), features=features)
        for member_id in member_ids
    ]


def _decoded(
    member_id: MemberId,
    rows: Sequence[FeedbackRow],
    preferences: Sequence[PreferenceRow],
    *,
    features: FeatureSpace,
) -> MemberFeedback:
    size = 4 * features.dim
    fitting = [row for row in rows if row.feature_id == features.feature_id and len(row.features) == size]
    read = np.frombuffer(b"".join(row.features for row in fitting), dtype="<f4")
    vectors = read.astype(np.float32).reshape(len(fitting), features.dim)  # (n, d)
    if not np.isfinite(vectors).all():
        finite = np.isfinite(vectors).all(axis=1)  # (n,)
        fitting = [fitting[i] for i in np.flatnonzero(finite)]
        vectors = vectors[finite]
    signs = tuple((tuple(row.reactions), row.rating) for row in fitting)
    guild = next((row.guild for row in (*rows, *preferences)), b"")
    return MemberFeedback(
        member_id,
        vectors,
        signs,
        tuple(row.changed_at for row in fitting),
        guild,
        tuple(row.reply_id for row in fitting),
        tuple(pair for row in preferences if (pair := _pair(row, features)) is not None),
        next((row.person for row in rows), b""),
    )


def _pair(row: PreferenceRow, features: FeatureSpace) -> Pair | None:
    """Decode a choice between two replies; None if it was stored for other features or is not finite."""
    if row.feature_id != features.feature_id or {len(row.first), len(row.second)} != {4 * features.dim}:
        return None
    first, second = (np.frombuffer(half, dtype="<f4").astype(np.float32) for half in (row.first, row.second))
    x = second - first  # (d,)
    if not np.isfinite(x).all():
        return None
    return Pair(x, row.picked, row.replies, row.told_at, row.tap is not None)


def read_labels(
    feedback: Sequence[MemberFeedback], valence: EmojiValence, settings: LearningSettings
) -> list[Labelled]:
    """Derive each member's labels from their feedback; a member may have no label."""
    return [labelled(member, valence, settings) for member in feedback]


def labelled(feedback: MemberFeedback, valence: EmojiValence, settings: LearningSettings) -> Labelled:
    """Derive one member's labels; replies whose feedback has no meaning get no label.

    Args:
        feedback: Feedback on replies, and choices between replies.
        valence: Valence of emoji in the population. The member's own meanings are learnt from ``feedback``.
        settings: Weight of each kind of feedback, and the half-life of labels.
    """
    found = labels_of(feedback, valence, settings)
    kept = [(i, label) for i, label in enumerate(found) if label is not None]
    compared = _compared(feedback, found, settings)
    labels = [label for _, label in (*kept, *compared)]
    at = [*(feedback.changed_at[i] for i, _ in kept), *(pair.told_at for pair, _ in compared)]
    X = feedback.X if len(kept) == len(found) else feedback.X[[i for i, _ in kept]]
    return Labelled(
        feedback.member_id,
        np.vstack([X, *(pair.x for pair, _ in compared)]) if compared else X,
        np.array([label.value for label in labels], dtype=np.float32),
        faded(np.array([label.weight for label in labels], dtype=np.float32), at, settings.half_life_days),
        feedback.guild,
        len(compared),
        feedback.person,
    )


def labels_of(
    feedback: MemberFeedback, valence: EmojiValence, settings: LearningSettings
) -> list[Label | None]:
    """Derive the label of each reply from one member's feedback on it; None where it has no meaning (n)."""
    in_server = valence.in_guild(feedback.guild)
    own = in_server.learnt(own_meanings(feedback.signs, in_server))
    label_of = Labeller(settings)
    by_sign = {sign: label_of(*sign, own) for sign in set(feedback.signs)}  # few signs differ
    return [by_sign[sign] for sign in feedback.signs]


def _compared(
    feedback: MemberFeedback, found: Sequence[Label | None], settings: LearningSettings
) -> list[tuple[Pair, Label]]:
    """Derive labels from a member's choices between two replies: how far the second is preferred.

    Args:
        feedback: The member's feedback and choices.
        found: The labels of the feedback, by row.
        settings: Weight of a choice.
    """
    weights = settings.label_weights
    by_reply = dict(zip(feedback.reply_ids, found, strict=False))
    read: list[tuple[Pair, Label]] = []
    for pair in feedback.pairs:
        if pair.replies is not None:
            first, second = (by_reply.get(reply_id) for reply_id in pair.replies)
            label = label_of_another(first, second, weights)
        else:
            preferred = {Picked.FIRST: 0.0, Picked.SECOND: 1.0}.get(pair.picked, 0.5)
            label = label_of_pair(preferred, weights, tap=pair.tap)
        if label is not None:
            read.append((pair, label))
    return read


def by_server(members: Sequence[Labelled], shifted: Container[bytes]) -> dict[bytes, list[Labelled]]:
    """Group members by the prior their heads are solved under: one group per server with a shift.

    Members of all other servers are in the group ``b""``.
    """
    parts: dict[bytes, list[Labelled]] = {}
    for member in members:
        parts.setdefault(member.guild if member.guild in shifted else b"", []).append(member)
    return parts


def pages(labelled: Sequence[Labelled]) -> Iterator[list[Labelled]]:
    """Cut members into pages of at most :data:`PAGE_BYTES` each when padded, most labels first."""
    page: list[Labelled] = []
    for member in sorted(labelled, key=lambda member: -len(member.y)):
        if page and (len(page) + 1) * page[0].X.nbytes > PAGE_BYTES:
            yield page
            page = []
        page.append(member)
    if page:
        yield page


def examples_of(page: Sequence[Labelled]) -> Examples:
    """Pad the labels of these members to one array, and mark the labels that compare two replies."""
    padded = Examples.pad([(member.X, member.y, member.weight) for member in page])
    if not any(member.n_pairs for member in page):
        return padded
    pairwise = np.zeros_like(padded.mask)  # (u, n)
    for u, member in enumerate(page):
        pairwise[u, len(member.y) - member.n_pairs : len(member.y)] = True
    return replace(padded, pairwise=pairwise)


def new_heads(page: Sequence[Labelled], bank: HeadBank) -> list[NewHead]:
    """Pack the solved heads of a page into records."""
    heads = [bank.head(u) for u in range(len(page))]
    return [
        NewHead(member.member_id, head.to_bytes(), len(member.y), rolled_back=not head.share)
        for member, head in zip(page, heads, strict=True)
    ]


def pool_of(taught: Sequence[Labelled]) -> Pool:
    """Concatenate the examples of all members."""
    return Pool(
        np.concatenate([member.X for member in taught]),  # (n, d)
        np.concatenate([member.y for member in taught]),  # (n,)
        np.concatenate([member.weight for member in taught]),  # (n,)
        np.repeat(np.arange(len(taught)), [len(member.y) for member in taught]),  # (n,)
    )
