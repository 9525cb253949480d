"""The one place where a reply is decided: candidates -> safety -> ranking -> the text to post.

Knows nothing of Discord: a cog hands in a :class:`Prompt` and posts the :class:`Decision`, then hands back
where it was posted. Whether anything is learnt depends on the member's consent alone, asked anew each time.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import numpy as np
from cachetools import LRUCache

from bot.generation import Candidate, Style
from bot.memory import Leaving
from bot.replies.candidate_cache import Drafts
from bot.replies.candidate_source import CandidateSource
from bot.replies.decision import (
    Asker,
    Decision,
    NothingToSay,
    Prompt,
    Stopwatch,
    as_another,
    impression_of,
    tokens_of,
    unranked,
)
from bot.replies.fair_turns import FairTurns
from bot.replies.style_wishes import WishBook, in_style, wished_styles
from personalization.errors import RankingFailed
from personalization.heads.heads import Head
from personalization.ranking.ranker import Ranker
from personalization.ranking.style_portfolio import StylePortfolio
from storage.errors import NoConsent, StorageError
from storage.members.wishes import NO_WISH
from storage.records import Consent, Impression, MemberId, Place, ReplyId, Who
from storage.store import Store

log = logging.getLogger(__name__)

_MOST_UNDECIDED = 1000
"""Members whose latest reply waits for their decision at once."""


class Responder:
    """Decides replies.

    Args:
        source: Where candidates come from, and what of them may be posted.
        ranker: Orders what is left by the member's head.
        store: Asked for consent, given the impression.
        portfolio: Deals the candidates out to the styles.
        styles: The style prompts, in the order of the portfolio.
        n_candidates: Candidates per reply (k).
        turns: Who may have candidates written next.
        context_tokens: What the generator cuts a context to, tokens.
    """

    def __init__(
        self,
        *,
        source: CandidateSource,
        ranker: Ranker,
        store: Store,
        portfolio: StylePortfolio,
        styles: Sequence[Style],
        n_candidates: int,
        turns: FairTurns,
        context_tokens: int,
    ) -> None:
        self.source = source
        self._ranker = ranker
        self._store = store
        self._styles = tuple(styles)
        self._n_candidates = n_candidates
        self._turns = turns
        self._context_tokens = context_tokens
        self._portfolio = portfolio
        self.drafts = Drafts()
        self.wishes = WishBook(store.wishes)
        self._undecided: LRUCache[Who, tuple[Place, Decision]] = LRUCache(_MOST_UNDECIDED)
        self._askers: weakref.WeakSet[Asker] = weakref.WeakSet()
        self.n_fallbacks = 0

    def use_styles(self, styles: Sequence[Style], secrets: Sequence[str]) -> None:
        """Ask for other styles from the next reply on; ``secrets`` must not stand in a reply."""
        self._styles = tuple(styles)
        self._portfolio.use_names([style.name for style in styles])
        self.source.use_secrets(secrets)

    async def decide(self, prompt: Prompt, *, but: Collection[str] = ()) -> Decision:
        """Choose the reply to ``prompt``. Stores nothing.

        Args:
            prompt: What is answered, and for whom.
            but: Texts that are not to be posted again.

        Raises:
            GeneratorError: No candidate could be generated.
            NothingToSay: No candidate may be posted.
        """
        clock, asker = Stopwatch(), Asker(prompt.who)
        self._askers.add(asker)
        async with self._turns.turn(prompt.who.user_id, prompt.behind):
            clock.lap("turn")
            context = await prompt.read()
            clock.lap("context")
            consent, member_id = await self._known_of(prompt.who)
            head = await self._ranker.head_of(member_id, self._store.guild_id(prompt.who))
            styles = await self._styles_for(prompt.who, consent, head)
            clock.lap("consent")
            candidates = await self.source.write(prompt.who, context, styles)
        clock.lap("generate")
        n_tokens = tokens_of(context, candidates, n_prompts=len(styles), most=self._context_tokens)
        kept = [one for one in await self.source.keep(candidates, prompt.who, context) if one.text not in but]
        clock.lap("filter")
        if not kept:
            raise NothingToSay(n_tokens)
        impression = await self._rank(member_id, prompt.who, context.message, kept)
        clock.lap("rank")
        chosen = kept[impression.chosen]
        more = None
        if chosen.unfinished:
            style = next(style for style in styles if style.name == chosen.style)
            more = partial(self.source.go_on, prompt.who, context, style=style, begun=chosen.text)
        return Decision(
            chosen.text,
            consent,
            impression,
            asker,
            written=tuple(kept),
            seconds=clock.laps,
            more=more,
            n_tokens=n_tokens,
        )

    async def completed(self, decision: Decision) -> Decision:
        """The decision with a draft written to its end, which nobody is shown meanwhile.

        Raises:
            GeneratorError: The draft could not be finished.
        """
        text = decision.text
        if decision.more is not None:
            async with aclosing(decision.more()) as texts:
                async for longer in texts:
                    text = longer
        return await self.finished(decision, text)

    async def finished(self, decision: Decision, text: str) -> Decision:
        """The decision with the text that stands in the end, described anew: it is what is learnt from.

        Scores, chances and the reason stay those of the draft, by which it was chosen.
        """
        impression, written = decision.impression, list(decision.written)
        if text != decision.text:
            written[impression.chosen] = Candidate(text, impression.styles[impression.chosen])
            candidates = list(impression.candidates)
            candidates[impression.chosen] = text
            feature_id, features = impression.feature_id, b""
            try:
                if feature_id:
                    described = await self._ranker.describe(text)
                    features = np.ascontiguousarray(described, dtype="<f4").tobytes()
            except RankingFailed as exc:
                log.warning("a finished reply could not be described and teaches nothing: %s", exc)
                feature_id = ""
            impression = replace(
                impression, candidates=tuple(candidates), feature_id=feature_id, features=features
            )
        return replace(decision, text=text, impression=impression, written=tuple(written), more=None)

    async def decide_another(self, prompt: Prompt, message_id: int, shown: str) -> Decision:
        """Choose another answer to a prompt: of what is left of the candidates, else of new ones.

        Stores nothing. What is left is ranked anew, so that the chances are those of this very choice.

        Args:
            prompt: What is answered, and for whom.
            message_id: A message of the answer before.
            shown: Its text.

        Raises:
            GeneratorError: No candidate could be generated.
            NothingToSay: Nothing else may be posted.
        """
        draft = self.drafts.of(prompt.who, message_id)
        context = await prompt.read()
        left = [] if draft is None else await self.source.keep(draft.left(), prompt.who, context)
        if not left:
            but = {shown} if draft is None else {shown} | draft.posted
            decision = await self.decide(replace(prompt, context=context), but=but)
            return replace(decision, impression=as_another(decision.impression))
        clock, asker = Stopwatch(), Asker(prompt.who)
        self._askers.add(asker)
        consent, member_id = await self._known_of(prompt.who)
        impression = await self._rank(member_id, prompt.who, context.message, left, observed=True)
        clock.lap("rank")
        text = left[impression.chosen].text
        return Decision(text, consent, as_another(impression), asker, written=tuple(left), seconds=clock.laps)

    async def record(self, who: Who, place: Place, decision: Decision) -> ReplyId | None:
        """Store the impression of a posted reply, if the member agrees by now.

        A member who has not decided yet may do so next: till then their latest reply waits in memory.

        Returns:
            The reply's id, or None when nothing was stored.
        """
        if decision.asker.may_be_remembered:
            self.drafts.keep(who, place, decision.written, decision.text)
        return await self._record(who, place, decision)

    async def record_another(
        self, who: Who, place: Place, decision: Decision, message_id: int
    ) -> ReplyId | None:
        """Store the impression of another answer, and that it was asked for, if the member agrees by now.

        ``decision`` is of :meth:`decide_another`, ``message_id`` a message of the answer before; returns as
        :meth:`record`.
        """
        if decision.asker.may_be_remembered:
            self.drafts.extend(who, message_id, place, candidates=decision.written, text=decision.text)
        first = await self._store.replies.of_message(message_id)
        reply_id = await self._record(who, place, decision)
        if first is not None and reply_id is not None:
            await self._store.preferences.record_another(who, first, reply_id)
        return reply_id

    async def _record(self, who: Who, place: Place, decision: Decision) -> ReplyId | None:
        consent, _ = await self._known_of(who)  # writing a reply takes seconds; people decide meanwhile
        if decision.asker.left:
            return None
        if consent is Consent.UNKNOWN and decision.asker.may_be_remembered:
            self._undecided[who] = (place, decision)
        if consent is not Consent.AGREED:
            return None
        try:
            return await self._store.replies.record(who, place, decision.impression)
        except NoConsent:  # withdrawn or forgotten just now
            return None

    async def agreed(self, who: Who, message_id: int | None) -> None:
        """Store what waited for the member's decision: their wish, and the reply under which they agreed.

        So their first click counts.

        Args:
            who: Who agreed.
            message_id: The message whose button was pressed; another reply than that stays unstored.
        """
        await self.wishes.agreed(who)
        place, decision = self._undecided.pop(who, (None, None))
        if place is not None and decision is not None and message_id in place.message_ids:
            await self._record(who, place, decision)

    def forget(self, leaving: Leaving) -> None:
        """Drop undecided replies, and record nothing of a reply that is being written for who leaves."""
        for asker in self._askers:
            if leaving.everyone:
                asker.may_have_left = True
            elif leaving.includes(asker.who):
                asker.left = True
        for who in [who for who in self._undecided if leaving.includes(who)]:
            del self._undecided[who]

    async def _styles_for(self, who: Who, consent: Consent, head: Head) -> list[Style]:
        """The styles of the candidates: by what the head likes, and in each what the member wishes for."""
        try:
            wish = await self.wishes.of(who, consent)
        except StorageError as exc:
            log.warning("a wish could not be read (%s); this reply goes without", type(exc).__name__)
            wish = NO_WISH
        seats = self._portfolio.deal(self._n_candidates, head, who.guild_id, wished=wished_styles(wish))
        return [in_style(self._styles[seat], wish) for seat in seats]

    async def _known_of(self, who: Who) -> tuple[Consent, MemberId | None]:
        """Ask the store about a member; while it does not answer, everybody is a stranger who said no."""
        try:
            consent = await self._store.consent.of(who)
            return consent, self._store.member_id(who) if consent is Consent.AGREED else None
        except StorageError as exc:
            log.warning("the store does not answer (%s); this reply is nobody's", type(exc).__name__)
            return Consent.REFUSED, None

    async def _rank(
        self,
        member_id: MemberId | None,
        who: Who,
        message: str,
        kept: Sequence[Candidate],
        *,
        observed: bool = False,
    ) -> Impression:
        """Rank ``kept``; a failed ranking is counted and logged, and the first candidate goes out.

        With ``observed`` the styles have heard of these candidates before.
        """
        texts = tuple(candidate.text for candidate in kept)
        styles = tuple(candidate.style for candidate in kept)
        try:
            ranking = await self._ranker.rank(
                member_id,
                message,
                texts,
                guild=self._store.guild_id(who),
                fits=[candidate.fits for candidate in kept],
            )
        except (
            Exception
        ) as exc:  # boundary: whatever broke, the member still gets an answer, and it is counted
            self.n_fallbacks += 1
            log.warning(
                "ranking failed (%s); the first of %d candidates goes out", type(exc).__name__, len(texts)
            )
            return unranked(texts, styles)
        if member_id is not None and not observed:
            for style, features in zip(styles, ranking.features, strict=True):
                self._portfolio.observe(style, features, who.guild_id)
        return impression_of(texts, styles, ranking)
