"""The one place where a reply is decided: candidates -> safety -> ranking -> the text to post.

Knows nothing of Discord: a cog hands in a :class:`Prompt` and posts the :class:`Decision`, then hands back
where it was posted. Whether anything is learnt depends on the member's consent alone, asked anew each time.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bot.generators import Candidate, CandidateGenerator, Context, GeneratorError, Style
from bot.knowledge import Knowledge
from bot.safety import CandidateFilter, Drop, Filtered, Rules
from bot.settings import FaqSettings, SafetySettings
from personalization.explain import reason_of
from personalization.portfolio import StylePortfolio
from personalization.ranker import Ranker, Ranking
from storage.errors import NoConsent, StorageError
from storage.records import (
    DIRECT_MESSAGES,
    FALLBACK,
    FAQ_STYLE,
    Consent,
    Impression,
    MemberId,
    Place,
    ReplyId,
    Who,
)
from storage.safety_rules import NOTHING_DECIDED, ServerRules
from storage.store import Store

log = logging.getLogger(__name__)

_MOST_UNDECIDED = 1000
"""Members whose latest reply waits for their decision at once."""


class NothingToSay(Exception):
    """Every candidate was blank or withheld by the output filter; ask again in other words."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """Who asks, and what is known before replying."""

    who: Who
    context: Context


@dataclass(eq=False)
class Asker:
    """A member while their answer is being made; ``left`` once they were forgotten or withdrew meanwhile."""

    who: Who
    left: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A reply that is ready to be posted.

    Attributes:
        text: What to post.
        consent: What the member had decided when the reply was made.
        asker: For whom; knows when they leave before the reply is recorded.
        impression: What to record once it is posted, if the member agrees.
        seconds: Time spent per part: ``consent``, ``generate``, ``filter``, ``rank``.
    """

    text: str
    consent: Consent
    impression: Impression
    asker: Asker
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])


class Responder:
    """Decides replies.

    Args:
        generator: Where candidates come from.
        output_filter: Drops what must not be posted.
        knowledge: Answers that a server's managers gave already.
        ranker: Orders what is left by the member's head.
        store: Asked for consent, given the impression.
        portfolio: Deals the candidates out to the styles.
        styles: The style prompts, in the order of the portfolio.
        n_candidates: Candidates per reply (k).
    """

    def __init__(
        self,
        *,
        generator: CandidateGenerator,
        output_filter: CandidateFilter,
        knowledge: Knowledge,
        ranker: Ranker,
        store: Store,
        portfolio: StylePortfolio,
        styles: Sequence[Style],
        n_candidates: int,
    ) -> None:
        self._generator = generator
        self._filter = output_filter
        self._knowledge = knowledge
        self._ranker = ranker
        self._store = store
        self._styles = tuple(styles)
        self._n_candidates = n_candidates
        self._portfolio = portfolio
        self._undecided: OrderedDict[Who, tuple[Place, Decision]] = OrderedDict()
        self._askers: weakref.WeakSet[Asker] = weakref.WeakSet()
        self.n_fallbacks = 0

    @property
    def n_dropped(self) -> Mapping[Drop, int]:
        """Candidates that were withheld so far, by reason."""
        return self._filter.n_dropped

    def use_styles(self, styles: Sequence[Style], secrets: Sequence[str]) -> None:
        """Ask for other styles from the next reply on; ``secrets`` must not stand in a reply."""
        self._styles = tuple(styles)
        self._portfolio.use_names([style.name for style in styles])
        self._filter.use_secrets(secrets)

    def use_settings(self, safety: SafetySettings, faq: FaqSettings) -> None:
        """Withhold by other rules, and know answers by another closeness, from the next reply on."""
        self._filter.use_settings(safety)
        self._knowledge.use_settings(faq)

    def rules_for(self, server: ServerRules) -> Rules:
        """What holds in a server whose managers decided this."""
        return self._filter.rules_for(server)

    async def verdict_on(self, who: Who, text: str) -> Filtered:
        """What would become of a candidate with this text, here and now; the judge is not asked."""
        rules = await self._rules_of(self._store.guild_id(who), who)
        return self._filter.apply([Candidate(text, FAQ_STYLE)], rules)

    async def decide(self, prompt: Prompt) -> Decision:
        """Choose the reply to ``prompt``. Stores nothing.

        Raises:
            GeneratorError: No candidate could be generated.
            NothingToSay: No candidate may be posted.
        """
        clock, asker = _Stopwatch(), Asker(prompt.who)
        self._askers.add(asker)
        consent, member_id = await self._known_of(prompt.who)
        guild = self._store.guild_id(prompt.who)
        head = await self._ranker.head_of(member_id, guild)
        styles = [
            self._styles[i] for i in self._portfolio.deal(self._n_candidates, head, prompt.who.guild_id)
        ]
        clock.lap("consent")
        candidates = await self._candidates(guild, prompt, styles)
        clock.lap("generate")
        kept = await self._filter.keep(candidates, await self._rules_of(guild, prompt.who))
        clock.lap("filter")
        if not kept:
            raise NothingToSay
        impression = await self._rank(member_id, guild, prompt, kept)
        clock.lap("rank")
        return Decision(kept[impression.chosen].text, consent, impression, asker, clock.laps)

    async def record(self, who: Who, place: Place, decision: Decision) -> ReplyId | None:
        """Store the impression of a posted reply, if the member agrees by now.

        A member who has not decided yet may do so next: till then their latest reply waits in memory.

        Returns:
            The reply's id, or None when nothing was stored.
        """
        consent, _ = await self._known_of(who)  # writing a reply takes seconds; people decide meanwhile
        if decision.asker.left:
            return None
        if consent is Consent.UNKNOWN:
            self._undecided[who] = (place, decision)
            self._undecided.move_to_end(who)
            if len(self._undecided) > _MOST_UNDECIDED:
                self._undecided.popitem(last=False)
        if consent is not Consent.AGREED:
            return None
        try:
            return await self._store.record_impression(who, place, decision.impression)
        except NoConsent:  # withdrawn or forgotten just now
            return None

    async def agreed(self, who: Who, message_id: int | None) -> None:
        """Store the reply under which the member has just agreed, so that their first click counts.

        Args:
            who: Who agreed.
            message_id: The message whose button was pressed; another reply than that stays unstored.
        """
        place, decision = self._undecided.pop(who, (None, None))
        if place is not None and decision is not None and message_id in place.message_ids:
            await self.record(who, place, decision)

    def drop(self, user_id: int, guild_id: int | None = None) -> None:
        """Let go of what memory holds of a member: in one server, or with None in all."""

        def concerned(who: Who) -> bool:
            return who.user_id == user_id and guild_id in (None, who.guild_id)

        for asker in self._askers:
            asker.left = asker.left or concerned(asker.who)
        for who in [who for who in self._undecided if concerned(who)]:
            del self._undecided[who]

    def member_left(self) -> None:
        """Let go of what styles sound like: the member may have had a part in it."""
        self._portfolio.clear()

    async def _candidates(self, guild: bytes, prompt: Prompt, styles: Sequence[Style]) -> list[Candidate]:
        """What the language model writes, and what a server's managers have answered already.

        Raises:
            GeneratorError: No candidate could be generated, and there is no answer either.
        """
        known: list[Candidate] = []
        if prompt.who.guild_id != DIRECT_MESSAGES:
            known = await self._knowledge.answers(guild, prompt.context.message)
        try:
            return [*await self._generator.generate(prompt.context, styles), *known]
        except GeneratorError as exc:
            if not known:
                raise
            log.warning("no candidates (%s); an answer from /faq goes out", exc)
            return known

    async def _rules_of(self, guild: bytes, who: Who) -> Rules:
        """What may be posted here, as the host and the server's managers decided."""
        try:
            decided = (
                NOTHING_DECIDED if who.guild_id == DIRECT_MESSAGES else await self._store.safety.of(guild)
            )
        except StorageError as exc:
            log.warning("the rules of a server cannot be read (%s); the strictest hold", type(exc).__name__)
            decided = None
        return self._filter.rules_for(decided)

    async def _known_of(self, who: Who) -> tuple[Consent, MemberId | None]:
        """Ask the store about a member; while it does not answer, everybody is a stranger who said no."""
        try:
            consent = await self._store.consent_of(who)
            return consent, self._store.member_id(who) if consent is Consent.AGREED else None
        except StorageError as exc:
            log.warning("the store does not answer (%s); this reply is nobody's", type(exc).__name__)
            return Consent.REFUSED, None

    async def _rank(
        self, member_id: MemberId | None, guild: bytes, prompt: Prompt, kept: Sequence[Candidate]
    ) -> Impression:
        """Rank ``kept``; a failed ranking is counted and logged, and the first candidate goes out."""
        texts = tuple(candidate.text for candidate in kept)
        styles = tuple(candidate.style for candidate in kept)
        try:
            ranking = await self._ranker.rank(
                member_id,
                prompt.context.message,
                texts,
                guild=guild,
                fits=[candidate.fits for candidate in kept],
            )
        except (
            Exception
        ) as exc:  # boundary: whatever broke, the member still gets an answer, and it is counted
            self.n_fallbacks += 1
            log.warning(
                "ranking failed (%s); the first of %d candidates goes out", type(exc).__name__, len(texts)
            )
            return _unranked(texts, styles)
        if member_id is not None:
            for style, features in zip(styles, ranking.features, strict=True):
                self._portfolio.observe(style, features, prompt.who.guild_id)
        return _impression(texts, styles, ranking)


def _impression(texts: tuple[str, ...], styles: tuple[str, ...], ranking: Ranking) -> Impression:
    # An answer from /faq is a person's words, and a thumb under it is about a fact: it teaches nobody's head.
    teaches = styles[ranking.chosen] != FAQ_STYLE
    return Impression(
        candidates=texts,
        styles=styles,
        chosen=ranking.chosen,
        scores=ranking.scores,
        prior_scores=ranking.prior_scores,
        propensities=ranking.propensities,
        policy=ranking.policy,
        head_version=ranking.head_version,
        feature_id=ranking.feature_id if teaches else "",
        features=np.ascontiguousarray(ranking.features[ranking.chosen], dtype="<f4").tobytes()
        if teaches
        else b"",
        reason=reason_of(ranking.parts, uncertainty=ranking.uncertainty, n_labels=ranking.n_labels),
    )


def _unranked(texts: tuple[str, ...], styles: tuple[str, ...]) -> Impression:
    first_only = (1.0, *(0.0 for _ in texts[1:]))
    return Impression(
        candidates=texts,
        styles=styles,
        chosen=0,
        scores=tuple(0.0 for _ in texts),
        prior_scores=tuple(0.0 for _ in texts),
        propensities=first_only,
        policy=FALLBACK,
        head_version=0,
        feature_id="",
        features=b"",
    )


class _Stopwatch:
    """Seconds per part of one decision."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
