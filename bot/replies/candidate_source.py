"""Where candidates come from, and which of them may be posted where they were asked for.

The language model writes, a server's managers have answered already, and the output filter takes away what
must not be posted, by the rules of the host and of the server.
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
    """Has candidates written, and sorts out what may be posted.

    Args:
        generator: Writes them.
        output_filter: Drops what must not be posted.
        knowledge: Answers that a server's managers gave already.
        store: Asked for what a server's managers decided.
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
        """Candidates that were withheld so far, by reason."""
        return self._filter.n_dropped

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Withhold what repeats these texts, from the next reply on."""
        self._filter.use_secrets(secrets)

    def use_settings(self, safety: SafetySettings, faq: FaqSettings) -> None:
        """Withhold by other rules, and know answers by another closeness, from the next reply on."""
        self._filter.use_settings(safety)
        self._knowledge.use_settings(faq)

    async def write(self, who: Who, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """What the language model writes, and what a server's managers have answered already.

        Raises:
            GeneratorError: No candidate could be generated, and there is no answer either.
        """
        known: list[Candidate] = []
        if who.guild_id != DIRECT_MESSAGES:
            known = await self._knowledge.answers(self._store.guild_id(who), context.message)
        try:
            return [*await self._generator.generate(context, styles), *known]
        except GeneratorError as exc:
            if not known:
                raise
            log.warning("no candidates (%s); an answer from /faq goes out", exc)
            return known

    async def go_on(self, who: Who, context: Context, *, style: Style, begun: str) -> AsyncGenerator[str]:
        """Go on with a draft, up to where the output filter would drop the whole."""
        async with aclosing(self._generator.continued(context, style, begun)) as texts:
            async for text in texts:
                kept = await self.keep([Candidate(text, style.name)], who, context)
                if not kept:
                    return
                yield kept[0].text

    async def keep(self, candidates: Sequence[Candidate], who: Who, context: Context) -> list[Candidate]:
        """What of the candidates may be posted where this was asked, as it may be posted."""
        rules = await self._rules_of(who)
        return await self._filter.keep(candidates, replace(rules, secrets=(context.persona or "",)))

    async def verdict_on(self, who: Who, text: str) -> Filtered:
        """What would become of a candidate with this text, here and now; the judge is not asked."""
        return self._filter.apply([Candidate(text, FAQ_STYLE)], await self._rules_of(who))

    def rules_for(self, server: ServerRules) -> Rules:
        """What holds in a server whose managers decided this."""
        return self._filter.rules_for(server)

    async def _rules_of(self, who: Who) -> Rules:
        """What may be posted here, as the host and the server's managers decided."""
        if who.guild_id == DIRECT_MESSAGES:
            return self._filter.rules_for(NOTHING_DECIDED)
        try:
            decided = await self._store.safety.of(self._store.guild_id(who))
        except StorageError as exc:
            log.warning("the rules of a server cannot be read (%s); the strictest hold", type(exc).__name__)
            decided = None
        return self._filter.rules_for(decided)
