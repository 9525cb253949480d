"""Summary of a member's learnt taste, shown to that member only.

It holds the style features that their head prefers or avoids, their likes with and without each feature, and
how well a head solved from earlier labels would have predicted each later label. It is computed from the
store on request and not cached. Only the member's own labels are read, and no text. Used by the member cogs
of ``bot``. Of storage it imports only record types.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from personalization.arrays import BoolArray, FloatArray
from personalization.encoding.features import STYLE_FEATURES
from personalization.heads.heads import FeatureSpace, Head, Prior
from personalization.insight.learnt_wishes import LearntWish, learnt_wishes
from personalization.insight.liked_examples import NEWEST as NEWEST_LIKED
from personalization.insight.liked_examples import best_liked
from personalization.labels.labels import EmojiValence, Label
from personalization.labels.plugged import Labeller
from personalization.ranking.explain import Evidence, evidence_of
from personalization.ranking.ranker import Ranker
from personalization.rounds.examples import Labelled, decode_feedback, labelled, labels_of
from personalization.rounds.store_protocol import LearningStore
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from storage.records import MemberId, ReplyId, ReplySummary

NEWEST = 200
"""Latest replies that are read: enough for a summary, few enough to answer at once."""
REPLAYED = 60
"""Latest labels that are predicted from earlier ones."""
LEAST_REPLAYED = 6
LEAST_LEANING = 0.02
"""Minimum leaning, logits for a typical difference between replies; smaller ones are not shown."""
LIKED_ABOVE = 0.5


@dataclass(frozen=True, slots=True)
class Leaning:
    """A style feature whose weight in the member's head differs from the average taste.

    Attributes:
        name: One of :data:`~personalization.encoding.features.STYLE_FEATURES`.
        amount: Contribution of a typical difference between replies to the score, logits; positive means
            that the member likes more of it.
        evidence: Counts of the member's own labels of replies.
        chosen: Of the choices between two answers, seen side by side, that differ clearly in this feature,
            how often the member picked the answer that the leaning prefers, and the number of these choices.
    """

    name: str
    amount: float
    evidence: Evidence
    chosen: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False, slots=True)
class Replay:
    """Progressive validation: each of the latest labels predicted from the earlier ones, oldest first.

    Attributes:
        own: Whether the member's own head predicted the label (n).
        average: Whether the average taste predicted the label (n).
    """

    own: BoolArray
    average: BoolArray


@dataclass(frozen=True, slots=True)
class Taste:
    """Summary of one member's taste.

    Attributes:
        n_labels: Number of labels of replies.
        n_liked: Number of those labels that are a like.
        leanings: Differences from the average taste, the strongest first.
        replay: Progressive validation; None without enough labels.
        n_choices: Number of choices between two answers that the member saw side by side.
    """

    n_labels: int
    n_liked: int
    leanings: tuple[Leaning, ...]
    replay: Replay | None
    n_choices: int = 0


class TasteReader:
    """Reads one member's labels and summarises them.

    Args:
        store: Source of feedback.
        ranker: Source of the heads and the prior in use.
        features: The features in use.
        valence: Valence of emoji before anything is learnt.
        settings: Rules by which feedback becomes labels.
    """

    def __init__(
        self,
        store: LearningStore,
        ranker: Ranker,
        features: FeatureSpace,
        valence: EmojiValence,
        settings: LearningSettings,
    ) -> None:
        self._store = store
        self._ranker = ranker
        self._features = features
        self._valence = valence
        self._settings, self._label_of = settings, Labeller(settings)

    async def evidence(self, member_id: MemberId, names: Sequence[str]) -> dict[str, Evidence]:
        """Count the member's likes with more and with less of each of these style features."""
        known = await self._labelled(member_id)
        return {name: evidence_of(name, known.X, known.y, liked_above=LIKED_ABOVE) for name in names}

    async def taste(self, member_id: MemberId, *, n_leanings: int = 3) -> Taste:
        """Summarise a member's taste."""
        known, choices = split(await self._labels_of(member_id, compared=True))
        head = await self._ranker.head_of(member_id, known.guild)
        average = await self._ranker.head_of(None, known.guild)
        replay = await asyncio.to_thread(replayed, known, self._ranker.prior.around(known.guild))
        leanings = leanings_of(known, head, average, choices)[:n_leanings]
        n_liked = int((known.y > LIKED_ABOVE).sum())
        return Taste(len(known.y), n_liked, leanings, replay, len(choices.y))

    async def head_of(self, member_id: MemberId, guild: bytes) -> Head:
        """Return the head used for a member of a server."""
        return await self._ranker.head_of(member_id, guild)

    def learnt_wishes(self, head: Head) -> tuple[LearntWish, ...]:
        """Return what a member's head is sure of in named features."""
        return learnt_wishes(head, self._ranker.prior)

    async def liked_examples(self, member_id: MemberId, head: Head, guild: bytes) -> list[ReplyId]:
        """Return the replies that show a member's taste, the best first; replies to others may be among them.

        Args:
            member_id: The member.
            head: The head used for them.
            guild: Pseudonym of their server.
        """
        rows = await self._store.feedback_of([member_id], NEWEST_LIKED)
        (feedback,) = decode_feedback([member_id], rows, self._features)
        found = labels_of(feedback, await self._valence_now(), self._settings)
        chosen = best_liked(
            feedback.X,
            [None if label is None else label.value for label in found],
            head,
            await self._ranker.head_of(None, guild),
            n_embedding=self._features.n_embedding,
        )
        return [feedback.reply_ids[i] for i in chosen]

    def dislikes(self, shown: ReplySummary) -> bool:
        """Return whether a member's feedback on a reply is a dislike."""
        valence = self._valence.learnt(self._ranker.prior.meanings)
        label = self._label_of(shown.reactions, shown.rating, valence)
        return label is not None and label.value < LIKED_ABOVE

    async def labelling(self, guild: bytes) -> Callable[[Sequence[str], int | None], Label | None]:
        """Return the function that derives a label from the reactions and the rating on a reply.

        Args:
            guild: Pseudonym of the server whose emoji meanings apply.
        """
        valence = (await self._valence_now()).in_guild(guild)
        return partial(self._label_of, valence=valence)

    async def labels_of(self, member_id: MemberId) -> Labelled:
        """Return all labels of a member that a round would learn from, choices between two texts included."""
        return await self._labels_of(member_id)

    async def _labels_of(self, member_id: MemberId, *, compared: bool = False) -> Labelled:
        """Return all labels of a member; with ``compared``, choices only where they saw both answers before.

        Who asks for another answer has not seen it yet. A like of it is counted as a like.
        """
        rows = await self._store.feedback_of([member_id], NEWEST)
        chosen = await self._store.preferences.of([member_id], NEWEST)
        if compared:
            chosen = {one: [row for row in own if row.replies is None] for one, own in chosen.items()}
        (feedback,) = decode_feedback([member_id], rows, self._features, chosen)
        return labelled(feedback, await self._valence_now(), self._settings)

    async def _labelled(self, member_id: MemberId) -> Labelled:
        rows = await self._store.feedback_of([member_id], NEWEST)
        (feedback,) = decode_feedback([member_id], rows, self._features)
        return labelled(feedback, await self._valence_now(), self._settings)

    async def _valence_now(self) -> EmojiValence:
        of_guilds = await self._store.emoji_of_guilds()
        return self._valence.with_guilds(of_guilds).learnt(self._ranker.prior.meanings)


def split(known: Labelled) -> tuple[Labelled, Labelled]:
    """Split labels into those of replies, and those that compare two answers."""
    n = len(known.y) - known.n_pairs
    replies, choices = (
        replace(known, X=known.X[part], y=known.y[part], weight=known.weight[part], n_pairs=n_pairs)
        for part, n_pairs in ((slice(None, n), 0), (slice(n, None), known.n_pairs))
    )
    return replies, choices


def leanings_of(
    known: Labelled, head: Head, average: Head, choices: Labelled | None = None
) -> tuple[Leaning, ...]:
    """List where a head differs from the average taste and the member's own labels or choices agree.

    Args:
        known: The member's labels of replies.
        head: The head used for the member.
        average: The head used for members without labels.
        choices: The labels that compare two answers.
    """
    none = np.zeros((0, len(STYLE_FEATURES)), dtype=np.float32)
    style = known.X[:, -len(STYLE_FEATURES) :] if len(known.y) > 1 else none  # (n, n_style)
    between = none if choices is None else choices.X[:, -len(STYLE_FEATURES) :]  # (n_pairs, n_style)
    amounts = style_differences(head, average) * _typical(style, between)  # (n_style,)
    found: list[Leaning] = []
    for j in map(int, np.argsort(-np.abs(amounts))):
        if abs(amounts[j]) < LEAST_LEANING:
            break
        amount = float(amounts[j])
        evidence = evidence_of(STYLE_FEATURES[j], known.X, known.y, liked_above=LIKED_ABOVE)
        chosen, against, n = (0, 0, 0) if choices is None else _chosen(j, between, choices.y, amount)
        if _agrees(evidence, amount) or chosen > against:
            found.append(Leaning(STYLE_FEATURES[j], amount, evidence, (chosen, n)))
    return tuple(found)


def _typical(style: FloatArray, between: FloatArray) -> FloatArray:
    """Return how much replies typically differ from their mean in each style feature (n_style)."""
    of_replies = style.std(axis=0) if len(style) else np.zeros(style.shape[1], dtype=np.float32)
    of_pairs = np.sqrt((between**2).sum(axis=0) / max(1, 2 * len(between)))
    return np.maximum(of_replies, of_pairs).astype(np.float32)


def _chosen(j: int, between: FloatArray, y: FloatArray, direction: float) -> tuple[int, int, int]:
    """Count the choices between answers that differ in a style feature at least half as much as in any.

    Returns:
        How often the answer with more of it (less, for a negative direction) was picked, how often the other
        one, and the number of these choices. In some of them neither was better.
    """
    clear = np.abs(between[:, j]) >= np.maximum(0.5 * np.abs(between).max(axis=1, initial=0), 1e-6)
    picked = np.sign(y[clear] - 0.5) * np.sign(between[clear, j]) * np.sign(direction)
    return int((picked > 0).sum()), int((picked < 0).sum()), int(clear.sum())


def style_differences(head: Head, average: Head) -> FloatArray:
    """Return how much more a head weighs each style feature than the average taste, logits.

    Args:
        head: The head used for the member.
        average: The head used for members without labels.

    Returns:
        In the order of :data:`~personalization.encoding.features.STYLE_FEATURES`, ``n_style`` float32.
    """
    n_style = len(STYLE_FEATURES)
    own, others = (h.weights[-n_style:].astype(np.float32) for h in (head, average))
    return own - others


def _agrees(evidence: Evidence, amount: float) -> bool:
    if not evidence.n_with or not evidence.n_without:
        return False
    more = evidence.liked_with / evidence.n_with - evidence.liked_without / evidence.n_without
    return more * amount > 0


def replayed(known: Labelled, prior: Prior, n: int = REPLAYED) -> Replay | None:
    """Predict each of the latest labels with a head solved from the earlier ones only. Blocks.

    Args:
        known: The member's labels, oldest first.
        prior: The prior that heads are solved under.
        n: Number of labels to predict.

    Returns:
        None with fewer than :data:`LEAST_REPLAYED` labels, because the result would be mostly noise.
    """
    total = len(known.y)
    first = max(1, total - n)
    if total < LEAST_REPLAYED:
        return None
    starts = range(first, total)
    examples = Examples.pad([(known.X[:i], known.y[:i], known.weight[:i]) for i in starts])
    bank, _ = learn_heads(examples, prior, "cpu")
    average = prior.head()
    truth = known.y[first:] > LIKED_ABOVE
    own = np.array([bank.head(u).score(known.X[i : i + 1])[0] > 0 for u, i in enumerate(starts)])
    return Replay(own == truth, (average.score(known.X[first:]) > 0) == truth)
