"""Comparisons in progress, in memory: the candidates that a member compares, and the pair that is shown.

Logic of ``/compare`` without Discord. A choice is recorded as features and a click
(:mod:`storage.replies.preferences`). The texts are dropped when the member has finished or leaves, or when
newer comparisons evict them. Sides A and B are assigned at random, so that a preference for the first place
teaches nothing.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cachetools import LRUCache

from bot.memory import Leaving
from bot.replies.decision import Asker, Askers, Prompt
from bot.replies.responder import Responder
from personalization.ranking.pair_choice import Contrast, most_informative
from personalization.ranking.ranker import Ranker
from storage.records import FAQ_STYLE, Pick, Picked, ReplyId, Who
from storage.store import Store

MOST_MEMBERS = 500


@dataclass(eq=False)
class Comparison:
    """One member's comparison.

    Attributes:
        texts: The candidates (k).
        contrast: Their features, and what the member's labels leave open about them.
        reply_id: The reply that they were written for; None if none was posted.
        told: Pairs that are not shown again: the member chose, or the pair cannot teach anything.
        shown: Indices of the pair that is shown, first A, then B.
        token: Identifies that pair, so that an old button does not decide about a new pair.
        under: Number of the key that the member had when the comparison began.
    """

    texts: tuple[str, ...]
    contrast: Contrast
    reply_id: ReplyId | None
    told: set[frozenset[int]] = field(default_factory=set[frozenset[int]])
    shown: tuple[int, int] = (0, 0)
    token: str = ""
    under: bytes | None = None

    def turn(self, rng: random.Random) -> bool:
        """Show the most informative pair that is left; False when none is."""
        pair = most_informative(self.contrast, self.told)
        if pair is None:
            return False
        self.shown = pair if rng.random() < 0.5 else (pair[1], pair[0])
        self.token = secrets.token_hex(4)
        return True

    def pick(self, picked: Picked) -> Pick:
        """Return the record of a choice between the pair that is shown, and mark the pair as answered."""
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
    """Starts comparisons and keeps those in progress.

    Args:
        store: Candidates of replies, and the pairs of them that were compared.
        responder: Writes candidates for a message.
        ranker: Describes candidates, with the uncertainty of a member's head.
    """

    def __init__(self, store: Store, responder: Responder, ranker: Ranker) -> None:
        self._store, self._responder, self._ranker = store, responder, ranker
        self._rng = random.Random()  # only assigns sides A and B
        self._by_member: LRUCache[Who, Comparison] = LRUCache(MOST_MEMBERS)
        self._askers = Askers()

    async def of_reply(self, who: Who, reply_id: ReplyId) -> Comparison | None:
        """Start comparing the candidates of a reply to this member; None when no pair is left.

        Raises:
            RankingFailed: The encoder failed.
        """
        asker = self._askers.begin(who)
        asker.under = who.under or await self._store.consent.key_id_of(who)
        candidates = await self._store.preferences.candidates_of(who, reply_id)
        told = await self._store.preferences.picked_of(who, reply_id)
        return await self._begin(asker, candidates, reply_id=reply_id, told=set(told))

    async def of_message(self, prompt: Prompt) -> Comparison | None:
        """Start comparing new candidates for a message; None when no pair is left. The message is not kept.

        Raises:
            GeneratorError: No candidate could be generated.
            NothingToSay: No candidate may be shown.
            UsedUp: The day of the member or of their server is used up.
            TooManyWaiting: Too many answers of the member wait already.
            RankingFailed: The encoder failed.
        """
        asker = self._askers.begin(prompt.who)
        asker.under = prompt.who.under or await self._store.consent.key_id_of(prompt.who)
        decision = await self._responder.decide(prompt)
        candidates = [(one.text, one.style) for one in decision.written]
        return await self._begin(asker, candidates, reply_id=None, told=set())

    def under_way(self, who: Who, token: str) -> Comparison | None:
        """Return the comparison whose shown pair has this token; None when it is over."""
        found = self._by_member.get(who)
        return found if found is not None and found.token == token else None

    def turn(self, who: Who, comparison: Comparison) -> bool:
        """Show the next pair; after the last one, drop the comparison and return False."""
        if comparison.turn(self._rng):
            return True
        self._by_member.pop(who, None)
        return False

    def forget(self, leaving: Leaving) -> None:
        """Drop the comparisons of the members that leave; one that is being made is not kept either."""
        self._askers.forget(leaving)
        for who in [who for who in self._by_member if leaving.includes(who)]:
            del self._by_member[who]

    async def _begin(
        self,
        asker: Asker,
        candidates: Sequence[tuple[str, str]],
        *,
        reply_id: ReplyId | None,
        told: set[frozenset[int]],
    ) -> Comparison | None:
        if len(candidates) < 2:
            return None
        texts = tuple(text for text, _ in candidates)
        for index, (_, style) in enumerate(candidates):
            if style == FAQ_STYLE:  # words of a person, which must not teach a head
                told |= {frozenset((index, other)) for other in range(len(texts))}
        who = asker.who
        member_id, guild = self._store.member_id(who), self._store.guild_id(who)
        contrast = await self._ranker.contrast(member_id, texts, guild=guild)
        comparison = Comparison(texts, contrast, reply_id, told)
        comparison.under = asker.under
        agreed = asker.under is not None and await self._store.consent.key_id_of(who) == asker.under
        # Nothing is awaited between this check and keeping the pair.
        if not agreed or not asker.may_be_remembered or not comparison.turn(self._rng):
            return None
        self._by_member[who] = comparison
        return comparison
