"""Collects the candidates for a prompt, and filters them by the rules of the host and of the server.

Candidates come from the language model and from the answers that the server's managers set with ``/faq``. The
output filter drops those that must not be posted. No other module calls the generator, so the daily limits
are spent here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from bot.generation import (
    Candidate,
    CandidateGenerator,
    Context,
    Enough,
    GeneratorError,
    StopsEarly,
    Style,
    dealt_to,
    examples_of,
    with_seats,
)
from bot.moderation.output_filter import CandidateFilter, Drop, Filtered, Rules
from bot.moderation.poor_replies import copies, good_of, without_poor
from bot.replies.budget import Budget
from bot.replies.faq_answers import Knowledge
from bot.replies.shapes import shaped
from bot.settings import FaqSettings, SafetySettings
from personalization.ranking.early_stop import Waiting
from storage.errors import StorageError
from storage.records import DIRECT_MESSAGES, FAQ_STYLE, Who
from storage.servers.safety_rules import NOTHING_DECIDED, ServerRules
from storage.store import Store

log = logging.getLogger(__name__)

JUDGED_S = 2.0
"""Longest time for the question whether the candidates so far are enough, seconds."""


class CandidateSource:
    """Collects and filters candidates.

    Args:
        generator: Writes candidates.
        output_filter: Drops candidates that must not be posted.
        knowledge: Finds the answers from ``/faq``.
        store: Holds the safety rules of each server.
        budget: Spends the daily limits.

    Attributes:
        n_written: Number of candidates that the generator wrote so far.
    """

    def __init__(
        self,
        generator: CandidateGenerator,
        output_filter: CandidateFilter,
        knowledge: Knowledge,
        store: Store,
        budget: Budget,
    ) -> None:
        self._generator = generator
        self._filter = output_filter
        self._knowledge = knowledge
        self._store = store
        self._budget = budget
        self.n_written = 0

    @property
    def n_dropped(self) -> Mapping[Drop, int]:
        """Number of candidates dropped so far, by reason."""
        return self._filter.n_dropped

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Drop candidates that repeat one of these texts, from the next reply on."""
        self._filter.use_secrets(secrets)

    def use_settings(self, safety: SafetySettings, faq: FaqSettings) -> None:
        """Use other safety rules and another similarity for ``/faq``, from the next reply on."""
        self._filter.use_settings(safety)
        self._knowledge.use_settings(faq)

    async def write(
        self,
        who: Who,
        context: Context,
        styles: Sequence[Style],
        roles: Collection[int],
        waiting: Waiting | None = None,
    ) -> list[Candidate]:
        """Return the candidates of the language model, then the answers from ``/faq``.

        Spends one message of the member's and the server's day, and the tokens.

        Args:
            who: The member who asks.
            context: Their message and the turns before it.
            styles: One for each candidate.
            roles: Ids of the member's roles, which may widen their limit.
            waiting: Decides whether the candidates so far are enough; None: all are awaited.

        Raises:
            GeneratorError: No candidate could be generated, and no answer from ``/faq`` fits.
            UsedUp: The day of the member or of their server is used up; the generator was not called.
        """
        await self._budget.take(who, roles)
        known: list[Candidate] = []
        if who.guild_id != DIRECT_MESSAGES:
            known = await self._knowledge.answers(self._store.guild_id(who), context.message)
        try:
            if waiting is not None and isinstance(self._generator, StopsEarly):
                enough = self._enough(waiting, who, context, styles, known)
                written = await self._generator.generate_until(context, styles, enough)
            else:
                written = await self._generator.generate(context, styles)
        except GeneratorError as exc:
            self._budget.give_back(who)
            if not known:
                raise
            log.warning("no candidates (%s); an answer from /faq is posted", exc)
            return known
        except asyncio.CancelledError:  # the bot stops
            self._budget.give_back(who)
            raise
        self.n_written += len(written)
        self._budget.spend_candidates(who, context, written, n_prompts=len(styles))
        return [*shaped(with_seats(written, styles), styles), *known]

    def _enough(
        self,
        waiting: Waiting,
        who: Who,
        context: Context,
        styles: Sequence[Style],
        known: list[Candidate],
    ) -> Enough:
        """Return what decides whether to stop waiting; only candidates that may be posted count."""

        async def enough(written: Sequence[Candidate], outstanding: Sequence[Style]) -> bool:
            candidates = [*shaped(with_seats(written, styles), styles), *known]
            if not await _good(waiting, candidates, outstanding):
                return False
            passed = await self._filter.passing(candidates, await self._rules_in(who, context))
            told = [style.instruction for style in styles]
            left = await asyncio.to_thread(good_of, passed.kept, context, told, examples_of(styles))
            return (left == candidates or await _good(waiting, left, outstanding)) and waiting.stop()

        async def in_time(written: Sequence[Candidate], outstanding: Sequence[Style]) -> bool:
            try:
                async with asyncio.timeout(JUDGED_S):
                    return await enough(written, outstanding)
            except TimeoutError:
                return False

        return in_time

    async def go_on(self, who: Who, context: Context, *, style: Style, begun: str) -> AsyncGenerator[str]:
        """Yield longer and longer texts of a draft; end where the output filter would drop the whole text.

        It also ends where the text becomes a copy of an example, unless the draft is one already.
        Spends the tokens at the end, whatever ends it.
        """
        text = shown = begun
        examples = examples_of((style,))
        if copies(begun, examples):  # it was the last resort
            examples = ()

        async def kept(*, unfinished: bool) -> str:
            one = Candidate(text, style.name, unfinished=unfinished)
            found = await self.keep(shaped([one], (style,)), who, context)
            return found[0].text if found and not copies(found[0].text, examples) else ""

        try:
            async with aclosing(self._generator.continued(context, style, begun)) as texts:
                async for longer in texts:
                    text = longer
                    if not (shown := await kept(unfinished=True)):
                        return
                    yield shown
            # Only a whole reply gets the question of its style.
            if (whole := await kept(unfinished=False)) and whole != shown:
                yield whole
        finally:
            self._budget.spend_continuation(who, context, begun, text)

    async def keep(
        self,
        candidates: Sequence[Candidate],
        who: Who,
        context: Context,
        styles: Sequence[Style] = (),
    ) -> list[Candidate]:
        """Return the candidates that may be posted in this server, without unwanted parts and poor ones.

        Args:
            candidates: What was written.
            who: The member who asks.
            context: Their message and the turns before it.
            styles: The styles with the member's wish, which may ask for a language, and with the examples of
                which a copy is poor.
        """
        kept = await self._filter.keep(candidates, await self._rules_in(who, context))
        told = [style.instruction for style in styles]
        return await asyncio.to_thread(without_poor, kept, context, told, examples_of(styles))

    async def verdict_on(self, who: Who, text: str) -> Filtered:
        """Return what the filter does with this text in this server; the toxicity model is not run."""
        return await self._filter.checked([Candidate(text, FAQ_STYLE)], await self._rules_of(who))

    def rules_for(self, server: ServerRules) -> Rules:
        """Return the rules of a server from what its managers set."""
        return self._filter.rules_for(server)

    async def _rules_in(self, who: Who, context: Context) -> Rules:
        return replace(await self._rules_of(who), secrets=(context.persona or "",))

    async def _rules_of(self, who: Who) -> Rules:
        """Return the rules of this server; the strictest where the store does not answer."""
        if who.guild_id == DIRECT_MESSAGES:
            return self._filter.rules_for(NOTHING_DECIDED)
        try:
            decided = await self._store.safety.of(self._store.guild_id(who))
        except StorageError as exc:
            log.warning(
                "safety rules of a server cannot be read (%s); the strictest apply", type(exc).__name__
            )
            decided = None
        return self._filter.rules_for(decided)


async def _good(waiting: Waiting, candidates: Sequence[Candidate], outstanding: Sequence[Style]) -> bool:
    return await waiting.is_enough(
        [one.text for one in candidates],
        [dealt_to(one) for one in candidates],
        [dealt_to(style) for style in outstanding],
        [one.fits for one in candidates],
    )
