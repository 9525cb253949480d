"""Selection and recording of the six taps, without Discord.

The next pair is the one whose answer teaches most, given all labels of the member
(:mod:`personalization.solving.open_questions`). So an axis that the reactions have settled is not asked
about, and one that has become uncertain is asked about again. A pair that the member has answered before is
shown only when the other pairs of its axis are answered too.

Which pairs were shown is not kept here: the buttons hold it (:mod:`bot.ui.six_taps.panel`), so a restart
loses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from bot.replies.six_taps.texts import AXES, Pair, pairs_in
from personalization.arrays import FloatArray
from personalization.encoding.features import STYLE_FEATURES, style_features
from personalization.heads.heads import Prior
from personalization.insight.taste import TasteReader
from personalization.ranking.ranker import Ranker
from personalization.rounds.examples import Labelled
from personalization.solving.open_questions import expected_information
from personalization.solving.training import Examples
from storage.records import Pick, Picked, Who
from storage.replies.taps import Undone
from storage.store import Store

TAPS = 6
"""Pairs that are shown in a row."""


class SixTaps:
    """Chooses pairs for members and records their answers. Methods may raise the errors of the store.

    Args:
        store: Records choices, and knows the pairs that were answered.
        ranker: Holds the prior.
        taste: Reads the member's labels.
    """

    def __init__(self, store: Store, ranker: Ranker, taste: TasteReader) -> None:
        self._store, self._ranker, self._taste = store, ranker, taste

    async def begin(self) -> int:
        """Return the number of a new row of taps; it is larger than that of each choice so far."""
        return await self._store.taps.begin()

    async def next_pair(self, who: Who, language: str, shown: Sequence[str]) -> Pair | None:
        """Return the pair whose answer would teach most; None when all were shown.

        Args:
            who: A member who agreed.
            language: Language of the texts.
            shown: Names of the pairs that were shown in this row.
        """
        pairs = pairs_in(language)
        answered = await self._store.taps.of(who)
        open_pairs = [i for i, pair in enumerate(pairs) if pair.name not in shown]
        wanted = {i for axis in AXES for i in _fresh(open_pairs, pairs, axis, answered)}
        if not wanted:
            return None
        labels = await self._taste.labels_of(self._store.member_id(who))
        prior = self._ranker.prior.around(self._store.guild_id(who))
        less, more = _described(language, prior.dim)  # (k, d)
        contrasts = more - less  # (k, d)
        information = await asyncio.to_thread(_information, labels, contrasts, prior)
        return pairs[max(sorted(wanted), key=lambda i: information[i])]

    async def record(self, who: Who, language: str, pair: Pair, picked: Picked, *, since: int) -> bool:
        """Record an answer, in place of an earlier one about the same pair.

        Args:
            who: The member.
            language: Language in which the pair was shown.
            pair: The pair.
            picked: ``FIRST`` for less, ``SECOND`` for more, ``EQUAL`` for no matter.
            since: Number from :meth:`begin`.

        Returns:
            False, and nothing is recorded, if the pair was answered since the row began, in it or in another.

        Raises:
            NoConsent: The member does not agree (any more).
            LearningPaused: The member paused learning.
        """
        prior, at = self._ranker.prior, pairs_in(language).index(pair)
        less, more = (side[at].astype("<f4").tobytes() for side in _described(language, prior.dim))
        pick = Pick(picked, prior.feature_id, less, more)
        return await self._store.taps.record(who, pair.name, pick, since=since)

    async def undo(self, who: Who, pairs: Sequence[Pair], *, since: int) -> Undone:
        """Take back the answers to these pairs that were given in a row; an answer before them counts again.

        Args:
            who: The member.
            pairs: The pairs.
            since: Number from :meth:`begin`.
        """
        return await self._store.taps.undo(who, [pair.name for pair in pairs], since=since)

    async def answered(self, who: Who, pairs: Sequence[Pair], *, since: int) -> dict[Pair, Picked]:
        """Return those of some pairs that were answered in a row, as far as these answers count."""
        own = await self._store.taps.of_row(who, since)
        return {pair: own[pair.name] for pair in pairs if pair.name in own}


@cache
def _described(language: str, dim: int) -> tuple[FloatArray, FloatArray]:
    """Return the features of both texts of each pair, ``k x d``, in the order of :func:`pairs_in`.

    The two texts of a pair mean the same. So the embedding is left out (0), and an answer teaches about style
    alone.
    """
    sides: list[FloatArray] = []
    for texts in zip(*((pair.less, pair.more) for pair in pairs_in(language)), strict=True):
        features = np.zeros((len(texts), dim), dtype=np.float32)
        features[:, -len(STYLE_FEATURES) :] = [style_features(text) for text in texts]
        sides.append(features)
    return sides[0], sides[1]


def _fresh(
    indices: Sequence[int], pairs: Sequence[Pair], axis: str, answered: Mapping[str, int]
) -> Sequence[int]:
    """Return the pairs of an axis that were never answered, else the one that was answered longest ago."""
    own = [i for i in indices if pairs[i].axis == axis]
    fresh = [i for i in own if pairs[i].name not in answered]
    return fresh or sorted(own, key=lambda i: answered[pairs[i].name])[:1]


def _information(labels: Labelled, contrasts: FloatArray, prior: Prior) -> Sequence[float]:
    examples = Examples.pad([(labels.X, labels.y, labels.weight)])
    pairwise = np.zeros_like(examples.mask)  # (1, n)
    pairwise[0, len(labels.y) - labels.n_pairs :] = True
    return expected_information(replace(examples, pairwise=pairwise), contrasts, prior).tolist()
