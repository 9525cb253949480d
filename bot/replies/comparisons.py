"""Comparisons under way, in memory: which candidates a member looks at, and which pair of them.

Logic of ``/compare``; knows no Discord. A choice is recorded as features and a click
(:mod:`storage.replies.preferences`); the texts are gone from here when the member is done, leaves, or
others push them out. Side A is either of the two by chance, so that a liking for the first place teaches
nothing.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cachetools import LRUCache

from bot.memory import Leaving
from bot.replies.decision import Prompt
from bot.replies.responder import Responder
from personalization.ranking.pair_choice import Contrast, most_informative
from personalization.ranking.ranker import Ranker
from storage.records import FAQ_STYLE, Pick, Picked, ReplyId, Who
from storage.store import Store

MOST_MEMBERS = 500


@dataclass(eq=False)
class Comparison:
    """What one member compares.

    Attributes:
        texts: The candidates (k).
        contrast: What is known of them.
        reply_id: The reply that they were written for; None where none was posted.
        told: Pairs that the member has chosen between, or let pass.
        shown: The pair they see, first A, then B.
        token: Names that pair, so that an old button does not decide about a new pair.
    """

    texts: tuple[str, ...]
    contrast: Contrast
    reply_id: ReplyId | None
    told: set[frozenset[int]] = field(default_factory=set[frozenset[int]])
    shown: tuple[int, int] = (0, 0)
    token: str = ""

    def turn(self, rng: random.Random) -> bool:
        """Go on to the most telling pair that is left; False when none is."""
        pair = most_informative(self.contrast, self.told)
        if pair is None:
            return False
        self.shown = pair if rng.random() < 0.5 else (pair[1], pair[0])
        self.token = secrets.token_hex(4)
        return True

    def pick(self, picked: Picked) -> Pick:
        """Take the choice between the pair that is shown."""
        first, second = self.shown
        self.told.add(frozenset(self.shown))
        contrast = self.contrast
        return Pick(
            picked,
            contrast.feature_id,
            contrast.bytes_of(first),
            contrast.bytes_of(second),
            self.reply_id,
            self.shown,
        )


class Comparisons:
    """Makes comparisons and keeps those under way.

    Args:
        store: Candidates of replies, and which pairs of them were compared.
        responder: Writes candidates for a message that is given.
        ranker: Knows what is open about a member's taste.
    """

    def __init__(self, store: Store, responder: Responder, ranker: Ranker) -> None:
        self._store, self._responder, self._ranker = store, responder, ranker
        self._rng = random.Random()  # which side is A decides nothing
        self._by_member: LRUCache[Who, Comparison] = LRUCache(MOST_MEMBERS)

    async def of_reply(self, who: Who, reply_id: ReplyId) -> Comparison | None:
        """Compare the candidates of a reply to this member; None when no two are left that differ.

        Raises:
            RankingFailed: The encoder failed.
        """
        candidates = await self._store.preferences.candidates_of(who, reply_id)
        told = await self._store.preferences.picked_of(who, reply_id)
        return await self._begin(who, candidates, reply_id=reply_id, told=set(told))

    async def of_message(self, prompt: Prompt) -> Comparison | None:
        """Compare new candidates, written for a message that the member gave; nothing of it is kept.

        Raises:
            GeneratorError: No candidate could be generated.
            NothingToSay: No candidate may be shown.
            RankingFailed: The encoder failed.
        """
        decision = await self._responder.decide(prompt)
        candidates = [(one.text, one.style) for one in decision.written]
        return await self._begin(prompt.who, candidates, reply_id=None, told=set())

    def under_way(self, who: Who, token: str) -> Comparison | None:
        """The comparison whose pair this token names; None when it is over."""
        found = self._by_member.get(who)
        return found if found is not None and found.token == token else None

    def turn(self, who: Who, comparison: Comparison) -> bool:
        """Go on to the next pair; False when that was the last one, and the comparison is let go of."""
        if comparison.turn(self._rng):
            return True
        self._by_member.pop(who, None)
        return False

    def forget(self, leaving: Leaving) -> None:
        """Drop the comparisons of the members that leave."""
        for who in [who for who in self._by_member if leaving.includes(who)]:
            del self._by_member[who]

    async def _begin(
        self,
        who: Who,
        candidates: Sequence[tuple[str, str]],
        *,
        reply_id: ReplyId | None,
        told: set[frozenset[int]],
    ) -> Comparison | None:
        if len(candidates) < 2:
            return None
        texts = tuple(text for text, _ in candidates)
        for index, (_, style) in enumerate(candidates):
            if style == FAQ_STYLE:  # a person's words, which teach nobody's head
                told |= {frozenset((index, other)) for other in range(len(texts))}
        member_id, guild = self._store.member_id(who), self._store.guild_id(who)
        contrast = await self._ranker.contrast(member_id, texts, guild=guild)
        comparison = Comparison(texts, contrast, reply_id, told)
        if not comparison.turn(self._rng):
            return None
        self._by_member[who] = comparison
        return comparison
