"""The one place where a reply is decided: context -> candidates -> filter -> ranking -> the text to post.

A cog passes in a :class:`Prompt` and posts the :class:`Decision`; :mod:`bot.replies.recording` stores it. No
Discord here. Whether anything is learnt depends on the member's consent alone, which is read for each reply.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial

from bot.distress.answers import HelpAnswers, InDistress
from bot.generation import Candidate, Context, Style, examples_of, seated, style_of
from bot.memory import Leaving
from bot.moderation.poor_replies import copies, quotes
from bot.replies.candidate_cache import Drafts
from bot.replies.candidate_source import CandidateSource
from bot.replies.choice import CandidateChoice
from bot.replies.consent import agreed_under, consent_of
from bot.replies.decision import (
    Asker,
    Askers,
    Decision,
    NothingToSay,
    Prompt,
    ReplyObserver,
    Stopwatch,
    as_another,
)
from bot.replies.fair_turns import FairTurns
from bot.replies.offers import OffersBook, table_of, with_offer
from bot.replies.recording import ReplyRecorder
from bot.replies.stopping import Stop
from bot.replies.style_wishes import WishBook, holds_own_words, in_style, wished_styles
from bot.settings import DistressSettings
from personalization.heads.heads import Head
from personalization.insight.seat_dealer import SeatDealer
from personalization.insight.taste import TasteReader
from personalization.ranking.early_stop import EarlyStop
from personalization.ranking.ranker import Ranker
from storage.errors import StorageError
from storage.members.wishes import NO_WISH, Wish
from storage.records import FALLBACK, UNKNOWN_STYLE, Consent, MemberId, Who
from storage.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Dealt:
    """What the candidates of a reply are requested with.

    Attributes:
        styles: Style of each candidate.
        wished: Whether the member asks for a style.
    """

    styles: list[Style]
    wished: bool


class Responder:
    """Decides replies.

    Args:
        source: Writes candidates and filters them.
        ranker: Orders candidates by the member's head.
        store: Consent, wishes and impressions.
        dealer: Distributes the candidates over styles and writers.
        styles: The style prompts, of the names that the dealer knows.
        n_candidates: Candidates per reply (k).
        turns: Decides whose candidates are written next.
        early: Decides whether a reply waits for all candidates.
        taste: Reads what a member's labels say, for what is offered to the writer.

    Attributes:
        recorder: Stores what was posted.
        drafts: Candidates of the latest replies.
        wishes: How members would like to be answered.
        offers: What taste offers to the writer.
        stop: Ends what is written when the bot stops.
        help: Recognises distress, and holds the answers to it.
    """

    def __init__(
        self,
        *,
        source: CandidateSource,
        ranker: Ranker,
        store: Store,
        dealer: SeatDealer,
        styles: Sequence[Style],
        n_candidates: int,
        turns: FairTurns,
        early: EarlyStop,
        taste: TasteReader,
    ) -> None:
        self.source = source
        self._ranker = ranker
        self._store = store
        self._styles = tuple(styles)
        self._n_candidates = n_candidates
        self._turns = turns
        self._dealer = dealer
        self._choice = CandidateChoice(ranker, dealer.portfolio, store, early.recent)
        self.early = early
        self.drafts = Drafts()
        self.recorder = ReplyRecorder(store, self.drafts)
        self.wishes = WishBook(store.wishes, store.consent)
        self.offers = OffersBook(store, taste)
        self.stop = Stop()
        self.help = HelpAnswers(DistressSettings())
        self._askers = Askers()

    @property
    def n_fallbacks(self) -> int:
        """Replies that went out unranked so far, because the ranking failed."""
        return self._choice.n_fallbacks

    def use_styles(self, styles: Sequence[Style], secrets: Sequence[str]) -> None:
        """Use other styles from the next reply on; replies that repeat one of ``secrets`` are withheld."""
        self._styles = tuple(styles)
        self._dealer.portfolio.use_names([style.name for style in styles])
        self.source.use_secrets(secrets)

    def observe(self, observer: ReplyObserver | None) -> None:
        """Show every reply from now on to an observer; None ends it."""
        self._choice.observer = self.recorder.observer = observer

    async def decide(
        self, prompt: Prompt, *, but: Collection[str] = (), asker: Asker | None = None
    ) -> Decision:
        """Choose the reply to a prompt. Stores nothing.

        Args:
            prompt: The message to answer, and its author.
            but: Texts that must not be posted again.
            asker: The member, if they were registered before; by default they are registered here.

        Raises:
            GeneratorError: No candidate could be generated.
            NothingToSay: No candidate may be posted.
            InDistress: The message is answered with help.
            UsedUp: The day of the member or of their server is used up.
            TooManyWaiting: Too many answers of the member wait already.
            Stopping: The bot stops.
            Exception: The error of the context reader.
        """
        asker = asker or self._asker_of(prompt)  # at once, so that a forget is noticed
        return await self.stop.unless_stopping(self._decide(prompt, but, asker))

    async def _decide(self, prompt: Prompt, but: Collection[str], asker: Asker) -> Decision:
        who, clock = prompt.who, Stopwatch()
        async with self._turns.turn(who.user_id, prompt.behind):
            clock.lap("turn")
            context = await self._read(prompt)
            clock.lap("context")
            consent, member_id = await agreed_under(self._store, asker)
            head = await self._ranker.head_of(member_id, self._store.guild_id(who))
            dealt = await self._styles_for(prompt, consent, head, member_id)
            styles, waiting = dealt.styles, None
            if not but and not dealt.wished:  # a wish changes how they score
                guild = self._store.guild_id(who)
                waiting = await self.early.begin(member_id, context.message, guild=guild, server=who.guild_id)
            clock.lap("consent")
            candidates = await self.source.write(who, context, styles, prompt.roles, waiting)
        clock.lap("generate")
        kept = await self.source.keep(candidates, who, context, styles)
        kept = [one for one in kept if one.text not in but]
        clock.lap("filter")
        chosen = partial(self._chosen_from, kept, asker, member_id, consent, context, styles)
        decision = await chosen(observed=waiting is not None and waiting.stopped, asked=dealt.wished)
        clock.lap("rank")
        impression = decision.impression if waiting is None else waiting.marked(decision.impression)
        return replace(decision, impression=impression, seconds=clock.laps)

    async def _read(self, prompt: Prompt) -> Context:
        """Read the context of a prompt, without earlier messages that were answered with help.

        Raises:
            InDistress: The message itself is answered with help.
            Exception: The error of the context reader.
        """
        context = await prompt.read()
        found, turns = await asyncio.to_thread(self.help.without_distress, context)
        if found is not None:
            raise InDistress(found)
        return replace(context, turns=turns)

    async def _chosen_from(
        self,
        candidates: Sequence[Candidate],
        asker: Asker,
        member_id: MemberId | None,
        consent: Consent,
        context: Context,
        styles: Sequence[Style],
        *,
        observed: bool = False,
        asked: bool = False,
    ) -> Decision:
        """Choose one of the candidates; without styles it is not known what they were written for.

        Raises:
            NothingToSay: There is none.
        """
        if not candidates:
            raise NothingToSay
        impression = await self._choice.choose(
            asker, member_id, context.message, candidates, observed=observed, asked=asked
        )
        chosen, more = candidates[impression.chosen], None
        # What follows, or what else the prompt held, may be a member's words, too.
        quoted = chosen.unfinished or not styles or any(map(holds_own_words, styles))
        quoted = quoted or await asyncio.to_thread(quotes, chosen.text, context)
        impression = replace(impression, quotes=quoted)
        if chosen.unfinished:
            style = style_of(chosen, styles)
            more = partial(self.source.go_on, asker.who, context, style=style, begun=chosen.text)
        rest = [one for one in candidates if one.text != chosen.text]
        again = partial(self._chosen_from, rest, asker, member_id, consent, context, styles, observed=True)
        # A copy of an example is posted where nothing else is left, and never as another answer.
        written = tuple(one for one in candidates if not copies(one.text, examples_of(styles)))
        return Decision(chosen.text, consent, impression, asker, written, more=more, instead=again)

    async def decide_another(self, prompt: Prompt, message_id: int, shown: str) -> Decision:
        """Choose another answer to a prompt, from the remaining candidates or else from new ones.

        Stores nothing. Remaining candidates are ranked anew, so that the propensities are those of this
        choice.

        Args:
            prompt: The message to answer, and its author.
            message_id: A message of the answer before.
            shown: The text of that message.

        Raises:
            GeneratorError: No candidate could be generated.
            NothingToSay: No other text may be posted.
            InDistress: The message is answered with help.
            UsedUp: No candidate remains, and the day of the member or of their server is used up.
            TooManyWaiting: Too many answers of the member wait already.
        """
        asker = self._asker_of(prompt)  # before the draft is read, so that a forget is noticed
        draft = self.drafts.of(prompt.who, message_id)
        context = await self._read(prompt)
        left: list[Candidate] = []
        if draft is not None:
            decided, _ = await consent_of(self._store, prompt.who)
            asked = in_style(Style("", ""), await self._wish_of(prompt.who, decided))
            left = await self.source.keep(draft.left(), prompt.who, context, [asked])
        if not left:
            but = {shown} if draft is None else {shown} | draft.posted
            decision = await self.decide(replace(prompt, context=context), but=but, asker=asker)
            return replace(decision, impression=as_another(decision.impression))
        clock = Stopwatch()
        consent, member_id = await agreed_under(self._store, asker)
        decision = await self._chosen_from(left, asker, member_id, consent, context, (), observed=True)
        clock.lap("rank")
        return replace(decision, impression=as_another(decision.impression), seconds=clock.laps)

    async def decide_found(self, prompt: Prompt, text: str) -> Decision:
        """Describe a reply that was found in Discord, so that it can be recorded. Nothing is written.

        The candidates beside it and their chances are lost, so it counts as posted without a ranking. Its
        features are known from its text, so reactions to it teach.

        Args:
            prompt: The message that was answered, and its author.
            text: The text of the reply.
        """
        asker = self._asker_of(prompt)
        consent, member_id = await agreed_under(self._store, asker)
        context, found = await prompt.read(), [Candidate(text, UNKNOWN_STYLE)]
        decision = await self._chosen_from(found, asker, member_id, consent, context, (), observed=True)
        return replace(decision, impression=replace(decision.impression, policy=FALLBACK), instead=None)

    def _asker_of(self, prompt: Prompt) -> Asker:
        return prompt.asker or self._askers.begin(prompt.who)

    async def completed(self, decision: Decision) -> Decision:
        """Write a draft to its end before it is shown, and return the decision with the whole text.

        Raises:
            GeneratorError: The draft could not be finished.
            Stopping: The bot stops.
        """
        return await self.stop.unless_stopping(self._complete(decision))

    async def _complete(self, decision: Decision) -> Decision:
        text = decision.text
        if decision.more is not None:
            async with aclosing(decision.more()) as texts:
                async for longer in texts:
                    text = longer
        return await self.finished(decision, text)

    async def finished(self, decision: Decision, text: str) -> Decision:
        """Return the decision with its final text; see :meth:`CandidateChoice.finished`."""
        return await self._choice.finished(decision, text)

    async def agreed(self, who: Who, message_id: int | None) -> None:
        """Store the data that waited for a member's consent: their wish and the reply they agreed under.

        Args:
            who: The member who agreed.
            message_id: The message whose button was pressed; any other reply stays unstored.
        """
        await self.wishes.agreed(who)
        await self.recorder.agreed(who, message_id)

    def forget(self, leaving: Leaving) -> None:
        """Drop undecided replies; replies in progress for the members that leave are not recorded."""
        self._askers.forget(leaving)
        self.recorder.forget(leaving)

    async def _styles_for(
        self, prompt: Prompt, consent: Consent, head: Head, member_id: MemberId | None
    ) -> _Dealt:
        """Return a style for each candidate, with offers of taste and the member's wish."""
        who = prompt.who
        wish = await self._wish_of(who, consent)
        offers = await self.offers.of(who, consent, head, wish, prompt.may_show)
        deal = partial(
            self._dealer.deal,
            self._n_candidates,
            head,
            guild=self._store.guild_id(who),
            server=who.guild_id,
            table=table_of(offers, wished_styles(wish)),
        )
        try:
            seats = await deal(member_id=member_id)
        except StorageError as exc:
            log.warning("likes could not be read (%s); this reply ignores them", type(exc).__name__)
            seats = await deal(member_id=None)
        plain = {style.name: style for style in self._styles}
        styles = [in_style(with_offer(plain[seat.style], seat, offers), wish) for seat in seats]
        return _Dealt([seated(*one, offers.examples) for one in zip(styles, seats, strict=True)], wish.asks)

    async def _wish_of(self, who: Who, consent: Consent) -> Wish:
        try:
            return await self.wishes.of(who, consent)
        except StorageError as exc:
            log.warning("a wish could not be read (%s); this reply ignores it", type(exc).__name__)
            return NO_WISH
