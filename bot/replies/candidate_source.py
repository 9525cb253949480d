"""Collects the candidates for a prompt, and filters them by the rules of the host and of the server.

Candidates come from the language model and from the answers that the server's managers set with ``/faq``. The
output filter drops those that must not be posted.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

from bot.generation import Candidate, CandidateGenerator, Context, GeneratorError, Style
from bot.moderation.output_filter import CandidateFilter, Drop, Filtered, Rules
from bot.replies.faq_answers import Knowledge
from bot.settings import FaqSettings, SafetySettings
from storage.errors import StorageError
from storage.records import DIRECT_MESSAGES, FAQ_STYLE, Who
from storage.servers.safety_rules import NOTHING_DECIDED, ServerRules
from storage.store import Store

log = logging.getLogger(__name__)


class CandidateSource:
    """Collects and filters candidates.

    Args:
        generator: Writes candidates.
        output_filter: Drops candidates that must not be posted.
        knowledge: Finds the answers from ``/faq``.
        store: Holds the safety rules of each server.
    """

    def __init__(
        self,
        generator: CandidateGenerator,
        output_filter: CandidateFilter,
        knowledge: Knowledge,
        store: Store,
    ) -> None:
        self._generator = generator
        self._filter = output_filter
        self._knowledge = knowledge
        self._store = store

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

    async def write(self, who: Who, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Return the candidates of the language model, then the answers from ``/faq``.

        Raises:
            GeneratorError: No candidate could be generated, and no answer from ``/faq`` fits.
        """
        known: list[Candidate] = []
        if who.guild_id != DIRECT_MESSAGES:
            known = await self._knowledge.answers(self._store.guild_id(who), context.message)
        try:
            return [*await self._generator.generate(context, styles), *known]
        except GeneratorError as exc:
            if not known:
                raise
            log.warning("no candidates (%s); an answer from /faq is posted", exc)
            return known

    async def go_on(self, who: Who, context: Context, *, style: Style, begun: str) -> AsyncGenerator[str]:
        """Yield longer and longer texts of a draft; end where the output filter would drop the whole text."""
        async with aclosing(self._generator.continued(context, style, begun)) as texts:
            async for text in texts:
                kept = await self.keep([Candidate(text, style.name)], who, context)
                if not kept:
                    return
                yield kept[0].text

    async def keep(self, candidates: Sequence[Candidate], who: Who, context: Context) -> list[Candidate]:
        """Return the candidates that may be posted in this server, without unwanted parts."""
        rules = await self._rules_of(who)
        return await self._filter.keep(candidates, replace(rules, secrets=(context.persona or "",)))

    async def verdict_on(self, who: Who, text: str) -> Filtered:
        """Return what the filter does with this text in this server; the toxicity model is not run."""
        return self._filter.apply([Candidate(text, FAQ_STYLE)], await self._rules_of(who))

    def rules_for(self, server: ServerRules) -> Rules:
        """Return the rules of a server from what its managers set."""
        return self._filter.rules_for(server)

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
