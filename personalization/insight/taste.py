"""What a member's own labels say, put together for showing it to that very member.

Which style features their head leans to, what they liked with and without each, and how well a head that
knew only the earlier labels would have predicted each later one. Read from the store when somebody asks,
never kept. Only the asking member's labels are read, and no text. Imports no storage but its records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalization.arrays import BoolArray
from personalization.encoding.features import STYLE_FEATURES
from personalization.heads.heads import FeatureSpace, Head, Prior
from personalization.labels.labels import EmojiValence, Label, label_of
from personalization.ranking.explain import Evidence, evidence_of
from personalization.ranking.ranker import Ranker
from personalization.rounds.examples import Labelled, labelled, told_of
from personalization.rounds.store_protocol import LearningStore
from personalization.settings import LearningSettings
from personalization.solving.gate import learn_heads
from personalization.solving.training import Examples
from storage.records import MemberId, ReplyId, ReplySummary

NEWEST = 200
"""Replies that are looked at: enough to tell, few enough to answer at once."""
EVERY = 1_000_000
"""Replies whose labels a member may take along: all."""
REPLAYED = 60
"""Latest labels that are predicted from the earlier ones."""
LEAST_REPLAYED = 6
LEAST_LEANING = 0.02
"""Logits for a typical difference between replies; smaller leanings say nothing."""
LIKED_ABOVE = 0.5


@dataclass(frozen=True, slots=True)
class Leaning:
    """A style feature the member's head weighs otherwise than the average taste.

    Attributes:
        name: One of :data:`~personalization.encoding.features.STYLE_FEATURES`.
        amount: What a typical difference between replies adds to the score, logits; positive: more is liked.
        evidence: What the member's own labels say about it.
    """

    name: str
    amount: float
    evidence: Evidence


@dataclass(frozen=True, eq=False, slots=True)
class Replay:
    """How the latest labels would have been predicted from the ones before, oldest first.

    Attributes:
        own: Whether the member's own head would have been right (n).
        average: Whether the average taste would have been right (n).
    """

    own: BoolArray
    average: BoolArray


@dataclass(frozen=True, slots=True)
class Taste:
    """What was learnt of one member.

    Attributes:
        n_labels: Labels looked at.
        n_liked: How many of them say that a reply was liked.
        leanings: Where the own taste differs from the average, the strongest first.
        replay: None without enough labels.
    """

    n_labels: int
    n_liked: int
    leanings: tuple[Leaning, ...]
    replay: Replay | None


class TasteReader:
    """Reads what one member's labels say.

    Args:
        store: Where feedback is read.
        ranker: Whose heads and prior are in use.
        features: The features in use.
        valence: What emoji mean before anything is learnt.
        settings: How feedback becomes labels.
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
        self._settings = settings

    async def evidence(self, member_id: MemberId, names: Sequence[str]) -> dict[str, Evidence]:
        """What the member's labels say about these style features."""
        known = await self._labelled(member_id)
        return {name: evidence_of(name, known.X, known.y, liked_above=LIKED_ABOVE) for name in names}

    async def taste(self, member_id: MemberId, *, n_leanings: int = 3) -> Taste:
        """What was learnt of a member."""
        known = await self._labelled(member_id)
        head = await self._ranker.head_of(member_id, known.guild)
        average = await self._ranker.head_of(None, known.guild)
        replay = await asyncio.to_thread(replayed, known, self._ranker.prior.around(known.guild))
        leanings = leanings_of(known, head, average)[:n_leanings]
        return Taste(len(known.y), int((known.y > LIKED_ABOVE).sum()), leanings, replay)

    def dislikes(self, shown: ReplySummary) -> bool:
        """Whether a member's feedback on a reply says that they disliked it."""
        valence, weights = self._valence.learnt(self._ranker.prior.meanings), self._settings.label_weights
        label = label_of(shown.reactions, shown.rating, valence, weights)
        return label is not None and label.value < LIKED_ABOVE

    async def labels(self, member_id: MemberId) -> dict[ReplyId, Label]:
        """What training makes of each of the member's feedback, newest replies; without what says nothing."""
        rows = (await self._store.feedback_of([member_id], EVERY))[member_id]
        valence = (await self._valence_now()).in_guild(rows[0].guild if rows else b"")
        weights = self._settings.label_weights
        found = {row.reply_id: label_of(row.reactions, row.rating, valence, weights) for row in rows}
        return {reply_id: label for reply_id, label in found.items() if label is not None}

    async def _labelled(self, member_id: MemberId) -> Labelled:
        rows = await self._store.feedback_of([member_id], NEWEST)
        (told,) = told_of([member_id], rows, self._features)
        return labelled(told, await self._valence_now(), self._settings)

    async def _valence_now(self) -> EmojiValence:
        said = await self._store.emoji_of_guilds()
        return self._valence.with_guilds(said).learnt(self._ranker.prior.meanings)


def leanings_of(known: Labelled, head: Head, average: Head) -> tuple[Leaning, ...]:
    """Where a head leans away from the average taste, and the member's own labels do not contradict it.

    Args:
        known: The member's labels.
        head: The head that answers for them.
        average: The head that answers for strangers.
    """
    if len(known.y) < 2:
        return ()
    n_style = len(STYLE_FEATURES)
    typical = known.X[:, -n_style:].std(axis=0)  # (n_style,)
    own, others = (h.weights[-n_style:].astype(np.float32) for h in (head, average))
    amounts = (own - others) * typical
    found: list[Leaning] = []
    for j in map(int, np.argsort(-np.abs(amounts))):
        if abs(amounts[j]) < LEAST_LEANING:
            break
        evidence = evidence_of(STYLE_FEATURES[j], known.X, known.y, liked_above=LIKED_ABOVE)
        if _agrees(evidence, float(amounts[j])):
            found.append(Leaning(STYLE_FEATURES[j], float(amounts[j]), evidence))
    return tuple(found)


def _agrees(evidence: Evidence, amount: float) -> bool:
    if not evidence.n_with or not evidence.n_without:
        return False
    more = evidence.liked_with / evidence.n_with - evidence.liked_without / evidence.n_without
    return more * amount > 0


def replayed(known: Labelled, prior: Prior, n: int = REPLAYED) -> Replay | None:
    """Predict each of the latest labels by a head that knew the earlier ones only. Blocks.

    Args:
        known: The member's labels, oldest first.
        prior: The prior that heads are drawn from.
        n: Labels to predict.

    Returns:
        None with fewer than :data:`LEAST_REPLAYED` labels: a picture of chance tells nobody anything.
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
