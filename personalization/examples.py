"""Feedback rows -> labelled examples, cut into pages that the solve can take; and solved heads -> records.

The plain functions between the store's records and the arrays of the solve, called by
:mod:`personalization.rounds` in a thread. Imports no storage but the types of its records.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from personalization.encoder import FloatArray
from personalization.heads import FeatureSpace, HeadBank
from personalization.labels import EmojiValence, faded, label_of
from personalization.meanings import own_meanings
from personalization.population import Pool
from personalization.settings import LearningSettings
from storage.records import FeedbackRow, MemberId, NewHead

PAGE_BYTES = 8 * 2**20
"""Padded features sent to the worker in one piece; copying more would hold up the event loop."""


@dataclass(frozen=True, eq=False, slots=True)
class Labelled:
    """One member's labels, oldest first: features ``n x d``, values ``n``, weights ``n``, all float32.

    ``guild`` is the pseudonym of their server.
    """

    member_id: MemberId
    X: FloatArray
    y: FloatArray
    weight: FloatArray
    guild: bytes = b""


@dataclass(frozen=True, eq=False, slots=True)
class Told:
    """One member's feedback, oldest reply first, not yet read as labels.

    Attributes:
        member_id: The member.
        X: Features of the replies, ``n x d`` float32.
        signs: What stands on each: reactions, and the rating or None (n).
        changed_at: When that last changed (n).
        guild: Pseudonym of their server.
    """

    member_id: MemberId
    X: FloatArray
    signs: tuple[tuple[tuple[str, ...], int | None], ...]
    changed_at: tuple[datetime, ...]
    guild: bytes = b""


def told_of(
    member_ids: Sequence[MemberId],
    feedback: Mapping[MemberId, Sequence[FeedbackRow]],
    features: FeatureSpace,
) -> list[Told]:
    """Take each member's feedback on replies that these features describe; other rows are left out."""
    return [_told(member_id, feedback.get(member_id, ()), features) for member_id in member_ids]


def _told(member_id: MemberId, rows: Sequence[FeedbackRow], features: FeatureSpace) -> Told:
    size = 4 * features.dim
    fitting = [row for row in rows if row.feature_id == features.feature_id and len(row.features) == size]
    read = np.frombuffer(b"".join(row.features for row in fitting), dtype="<f4")
    vectors = read.astype(np.float32).reshape(len(fitting), features.dim)  # (n, d)
    if not np.isfinite(vectors).all():
        finite = np.isfinite(vectors).all(axis=1)  # (n,)
        fitting = [fitting[i] for i in np.flatnonzero(finite)]
        vectors = vectors[finite]
    signs = tuple((tuple(row.reactions), row.rating) for row in fitting)
    guild = rows[0].guild if rows else b""
    return Told(member_id, vectors, signs, tuple(row.changed_at for row in fitting), guild)


def read_labels(told: Sequence[Told], valence: EmojiValence, settings: LearningSettings) -> list[Labelled]:
    """Read each member's feedback as labels; members may end with none."""
    return [labelled(member, valence, settings) for member in told]


def labelled(told: Told, valence: EmojiValence, settings: LearningSettings) -> Labelled:
    """Read a member's feedback as labels; what says nothing is left out.

    Args:
        told: The feedback.
        valence: What emoji mean in the population; what they mean to this member is learnt from ``told``.
        settings: How far each kind of feedback is trusted, and how fast labels fade.
    """
    there = valence.in_guild(told.guild)
    own = there.learnt(own_meanings(told.signs, there))
    found = [label_of(*sign, own, settings.label_weights) for sign in told.signs]
    kept = [(i, label) for i, label in enumerate(found) if label is not None]
    weight = np.array([label.weight for _, label in kept], dtype=np.float32)
    return Labelled(
        told.member_id,
        told.X if len(kept) == len(found) else told.X[[i for i, _ in kept]],
        np.array([label.value for _, label in kept], dtype=np.float32),
        faded(weight, [told.changed_at[i] for i, _ in kept], settings.half_life_days),
        told.guild,
    )


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
