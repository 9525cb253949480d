"""Feedback rows -> labelled examples, cut into pages that the solve can take; and solved heads -> records.

The plain functions between the store's records and the arrays of the solve, called by
:mod:`personalization.rounds.trainer` in a thread. Imports no storage but the types of its records.
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
    label_of,
    label_of_another,
    label_of_pair,
)
from personalization.population.pooled import Pool
from personalization.settings import LearningSettings
from personalization.solving.training import Examples
from storage.records import FeedbackRow, MemberId, NewHead, Picked, PreferenceRow, ReplyId

PAGE_BYTES = 8 * 2**20
"""Padded features sent to the worker in one piece; copying more would hold up the event loop."""


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """One member's labels, oldest first: features ``n x d``, values ``n``, weights ``n``, all float32.

    The last ``n_pairs`` of them compare two replies: their features are the difference of the two.
    ``guild`` is the pseudonym of their server.
    """

    member_id: MemberId
    X: FloatArray
    y: FloatArray
    weight: FloatArray
    guild: bytes = b""
    n_pairs: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class Told:
    """One member's feedback, oldest reply first, not yet read as labels.

    Attributes:
        member_id: The member.
        X: Features of the replies, ``n x d`` float32.
        signs: What stands on each: reactions, and the rating or None (n).
        changed_at: When that last changed (n).
        guild: Pseudonym of their server.
        reply_ids: Which replies (n); may be left out where nobody asked for another answer.
        pairs: Their choices between two replies that these features describe, oldest first.
    """

    member_id: MemberId
    X: FloatArray
    signs: tuple[tuple[tuple[str, ...], int | None], ...]
    changed_at: tuple[datetime, ...]
    guild: bytes = b""
    reply_ids: tuple[ReplyId, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """One choice between two replies, not yet read as a label.

    Attributes:
        x: Features of the second less those of the first, ``d`` float32.
        picked: What was said.
        replies: Both, where the second was asked for in place of the first.
        told_at: When, aware UTC.
    """

    x: FloatArray
    picked: Picked
    replies: tuple[ReplyId, ReplyId] | None
    told_at: datetime


def told_of(
    member_ids: Sequence[MemberId],
    feedback: Mapping[MemberId, Sequence[FeedbackRow]],
    features: FeatureSpace,
    preferences: Mapping[MemberId, Sequence[PreferenceRow]] | None = None,
) -> list[Told]:
    """Take what members told of replies that these features describe; other rows are left out.

    Args:
        member_ids: Whose.
        feedback: By member, oldest reply first.
        features: The features in use.
        preferences: Their choices between two replies, oldest first.
    """
    chosen = preferences or {}
    return [
        _told(member_id, feedback.get(member_id, ()), chosen.get(member_id, ()), features=features)
        for member_id in member_ids
    ]


def _told(
    member_id: MemberId,
    rows: Sequence[FeedbackRow],
    preferences: Sequence[PreferenceRow],
    *,
    features: FeatureSpace,
) -> Told:
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
    return Told(
        member_id,
        vectors,
        signs,
        tuple(row.changed_at for row in fitting),
        guild,
        tuple(row.reply_id for row in fitting),
        tuple(pair for row in preferences if (pair := _pair(row, features)) is not None),
    )


def _pair(row: PreferenceRow, features: FeatureSpace) -> Pair | None:
    """Take a choice between two replies; None where other features describe them."""
    if row.feature_id != features.feature_id or {len(row.first), len(row.second)} != {4 * features.dim}:
        return None
    first, second = (np.frombuffer(half, dtype="<f4").astype(np.float32) for half in (row.first, row.second))
    x = second - first  # (d,)
    return Pair(x, row.picked, row.replies, row.told_at) if np.isfinite(x).all() else None


def read_labels(told: Sequence[Told], valence: EmojiValence, settings: LearningSettings) -> list[Labelled]:
    """Read each member's feedback as labels; members may end with none."""
    return [labelled(member, valence, settings) for member in told]


def labelled(told: Told, valence: EmojiValence, settings: LearningSettings) -> Labelled:
    """Read what a member told as labels; what says nothing is left out.

    Args:
        told: Feedback, and choices between replies.
        valence: What emoji mean in the population; what they mean to this member is learnt from ``told``.
        settings: How far each kind of feedback is trusted, and how fast labels fade.
    """
    there = valence.in_guild(told.guild)
    own = there.learnt(own_meanings(told.signs, there))
    found = [label_of(*sign, own, settings.label_weights) for sign in told.signs]
    kept = [(i, label) for i, label in enumerate(found) if label is not None]
    compared = _compared(told, found, settings)
    labels = [label for _, label in (*kept, *compared)]
    at = [*(told.changed_at[i] for i, _ in kept), *(pair.told_at for pair, _ in compared)]
    X = told.X if len(kept) == len(found) else told.X[[i for i, _ in kept]]
    return Labelled(
        told.member_id,
        np.vstack([X, *(pair.x for pair, _ in compared)]) if compared else X,
        np.array([label.value for label in labels], dtype=np.float32),
        faded(np.array([label.weight for label in labels], dtype=np.float32), at, settings.half_life_days),
        told.guild,
        len(compared),
    )


def _compared(
    told: Told, found: Sequence[Label | None], settings: LearningSettings
) -> list[tuple[Pair, Label]]:
    """Read a member's choices between two replies as labels that say how far the second is the better one.

    Args:
        told: What they told.
        found: The labels of their feedback, by row.
        settings: How far a choice is trusted.
    """
    weights = settings.label_weights
    by_reply = dict(zip(told.reply_ids, found, strict=False))
    read: list[tuple[Pair, Label]] = []
    for pair in told.pairs:
        if pair.replies is not None:
            first, second = (by_reply.get(reply_id) for reply_id in pair.replies)
            label = label_of_another(first, second, weights)
        else:
            label = label_of_pair({Picked.FIRST: 0.0, Picked.SECOND: 1.0}.get(pair.picked, 0.5), weights)
        if label is not None:
            read.append((pair, label))
    return read


def by_server(members: Sequence[Labelled], shifted: Container[bytes]) -> dict[bytes, list[Labelled]]:
    """Part members by the prior they are solved under: servers with a shift, ``b""`` the rest."""
    parts: dict[bytes, list[Labelled]] = {}
    for member in members:
        parts.setdefault(member.guild if member.guild in shifted else b"", []).append(member)
    return parts


def pages(labelled: Sequence[Labelled]) -> Iterator[list[Labelled]]:
    """Cut members, sorted by their number of labels, into pages of at most :data:`PAGE_BYTES` when padded."""
    page: list[Labelled] = []
    for member in sorted(labelled, key=lambda member: -len(member.y)):
        if page and (len(page) + 1) * page[0].X.nbytes > PAGE_BYTES:
            yield page
            page = []
        page.append(member)
    if page:
        yield page


def examples_of(page: Sequence[Labelled]) -> Examples:
    """Pad the labels of these members, and mark those that compare two replies."""
    padded = Examples.pad([(member.X, member.y, member.weight) for member in page])
    if not any(member.n_pairs for member in page):
        return padded
    pairwise = np.zeros_like(padded.mask)  # (u, n)
    for u, member in enumerate(page):
        pairwise[u, len(member.y) - member.n_pairs : len(member.y)] = True
    return replace(padded, pairwise=pairwise)


def new_heads(page: Sequence[Labelled], bank: HeadBank) -> list[NewHead]:
    """Write the solved heads of a page as records."""
    heads = [bank.head(u) for u in range(len(page))]
    return [
        NewHead(member.member_id, head.to_bytes(), len(member.y), rolled_back=not head.share)
        for member, head in zip(page, heads, strict=True)
    ]


def pool_of(taught: Sequence[Labelled]) -> Pool:
    """Put the examples of all members one after the other."""
    return Pool(
        np.concatenate([member.X for member in taught]),  # (n, d)
        np.concatenate([member.y for member in taught]),  # (n,)
        np.concatenate([member.weight for member in taught]),  # (n,)
        np.repeat(np.arange(len(taught)), [len(member.y) for member in taught]),  # (n,)
    )
