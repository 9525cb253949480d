"""Output filter: drops candidates that must not be posted, before they are ranked.

A model can answer with blank text, its own instructions, an endless loop, a masked link, or words that a
server has blocked. Dropping such candidates before ranking means that no member's taste can bring them back.
Depending on the level of the server, mentions and links are removed (:mod:`bot.moderation.sanitizing`).
``AllowedMentions.none()`` disables pings where the reply is posted. Called by ``bot/replies``.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Protocol

from bot.generation import Candidate
from bot.generators.marks import has_mark
from bot.generators.role_markers import folded
from bot.messages.markdown import Kind, has_masked_link, parts_of, without_code
from bot.messages.splitting import split_message
from bot.messages.unsupported import readable
from bot.moderation.addresses import has_invitation
from bot.moderation.blocked_terms import is_blocked
from bot.moderation.loops import is_loop
from bot.moderation.prompt_leak import Secrets, secrets_of
from bot.moderation.sanitizing import tidied
from bot.moderation.visible_text import is_readable, shown, visible
from bot.settings import SafetySettings
from bot.tasks import Threads
from storage.servers.safety_rules import ServerRules

log = logging.getLogger(__name__)

MAX_LENGTH = 20_000
"""Longest candidate that may be posted, characters: ten messages."""

CHECK_S = 5.0
"""Longest time for the checks of one candidate, seconds."""
JUDGE_S = 60.0
"""Longest time for the judge's answer about one reply's candidates, seconds."""

_PASSES = 4
"""Times a text is tidied at most; what is left after them is judged like any other text."""

_LINK = re.compile(r"(?:https?|ftps?|steam|discord)://[.,!?;:'\")\]]*+[^\s<>]", re.IGNORECASE)


class Drop(StrEnum):
    """Reason to drop a candidate."""

    BLANK = "blank"
    """Nothing readable: only white space, zero-width characters or punctuation."""
    TOO_LONG = "too long"
    LEAKED_PROMPT = "leaked prompt"
    """Role markers of a chat template, or a sentence of the persona or of a style instruction."""
    INVITE_LINK = "invite link"
    MASKED_LINK = "masked link"
    """``[text](address)``, which hides where it leads."""
    LINK = "link"
    """An address that could not be removed, on a level without links."""
    LOOP = "loop"
    """The text repeats itself."""
    BLOCKED_TERM = "blocked term"
    """A word that the host or the managers of the server blocked."""
    TOXIC = "toxic"
    """The judge rates it as too toxic for the level."""
    TOO_SLOW = "too slow"
    """Checking it took too long, so it is not known to be allowed."""


class Level(StrEnum):
    """Safety level of a server; :data:`LEVELS` defines what each does."""

    RELAXED = "relaxed"
    STANDARD = "standard"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class _Treatment:
    """Treatment of candidates at one level.

    Attributes:
        invites: Whether invitations to servers are allowed.
        masked: Whether ``[text](address)`` is written out; else such a candidate is dropped.
        links: Whether addresses are allowed; else they are removed.
        mentions: Whether mentions are allowed (they never ping); else they are removed.
        toxicity: Toxicity from which a candidate is dropped, 0 to 1.
    """

    invites: bool
    masked: bool
    links: bool
    mentions: bool
    toxicity: float


LEVELS = {
    Level.RELAXED: _Treatment(invites=True, masked=True, links=True, mentions=True, toxicity=0.9),
    Level.STANDARD: _Treatment(invites=False, masked=False, links=True, mentions=False, toxicity=0.7),
    Level.STRICT: _Treatment(invites=False, masked=False, links=False, mentions=False, toxicity=0.4),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules for one reply.

    Attributes:
        level: Safety level of the server.
        terms: Blocked terms.
        secrets: Texts of which no sentence may be repeated, in addition to the bot's own.
    """

    level: Level = Level.STANDARD
    terms: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


STANDARD = Rules()


@dataclass(frozen=True, slots=True)
class Filtered:
    """Candidates that passed, in the given order, and the number dropped for each reason; no dropped text."""

    kept: tuple[Candidate, ...]
    dropped: Mapping[Drop, int]


class Judge(Protocol):
    """Rates the toxicity of texts. Implementations never block the event loop."""

    async def toxicity(self, texts: Sequence[str]) -> list[float]:
        """Return the toxicity of each text, 0 to 1, in order.

        Raises:
            RuntimeError: The model failed.
        """
        ...


class CandidateFilter(Protocol):
    """Selects candidates that may be posted. Implementations never block the event loop."""

    @property
    def n_dropped(self) -> Mapping[Drop, int]:
        """Number of candidates dropped so far, by reason."""
        ...

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Replace the secrets that no candidate may repeat."""
        ...

    def use_settings(self, settings: SafetySettings) -> None:
        """Apply changed settings from the next reply on, as far as they can change at runtime."""
        ...

    def rules_for(self, server: ServerRules | None) -> Rules:
        """Return the rules of a server; None: its rules cannot be read."""
        ...

    async def checked(self, candidates: Sequence[Candidate], rules: Rules) -> Filtered:
        """Apply the checks that need no judge."""
        ...

    async def passing(self, candidates: Sequence[Candidate], rules: Rules) -> Filtered:
        """Apply all checks, and count nothing: these candidates will be filtered again."""
        ...

    async def keep(self, candidates: Sequence[Candidate], rules: Rules) -> list[Candidate]:
        """Return the sanitised candidates that may be posted, in order."""
        ...


class OutputFilter:
    """Drops candidates that must not be posted.

    Args:
        secrets: Persona and style instructions; a candidate that repeats a sentence of one leaks the prompt.
        settings: The host's level and blocked terms, which apply in every server.
        judge: Rates the toxicity of texts; None: toxicity is not checked.
        check_s: Longest time for the checks of one candidate, seconds.
        judge_s: Longest time for the judge's answer, seconds.
    """

    def __init__(
        self,
        secrets: Sequence[str] = (),
        *,
        settings: SafetySettings | None = None,
        judge: Judge | None = None,
        check_s: float = CHECK_S,
        judge_s: float = JUDGE_S,
    ) -> None:
        self.n_dropped: Counter[Drop] = Counter()
        self._judge, self._judge_s = judge, judge_s
        self._threads = Threads(check_s)
        self.use_secrets(secrets)
        self.use_settings(settings or SafetySettings())

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Replace the secrets that no candidate may repeat."""
        self._secrets = Secrets(secrets)

    def use_settings(self, settings: SafetySettings) -> None:
        """Apply the host's changed level and terms from the next reply on; the judge is kept."""
        self._host = Rules(Level(settings.level), settings.blocked_terms)

    def rules_for(self, server: ServerRules | None) -> Rules:
        """Return the rules of a server: its level or else the host's, and the terms of both.

        None means that the rules of the server cannot be read. Then the strictest level applies, because a
        laxer one could post what the server forbids.
        """
        if server is None:
            return replace(self._host, level=Level.STRICT)
        known = server.level in set(Level)
        return Rules(Level(server.level) if known else self._host.level, self._host.terms + server.terms)

    async def passing(self, candidates: Sequence[Candidate], rules: Rules = STANDARD) -> Filtered:
        """Apply all checks, and count nothing: these candidates will be filtered again."""
        return await self._judged(await self.checked(candidates, rules), rules)

    async def keep(self, candidates: Sequence[Candidate], rules: Rules = STANDARD) -> list[Candidate]:
        """Return the sanitised candidates that may be posted, in order; log drops as counts."""
        result = await self.passing(candidates, rules)
        self.n_dropped.update(result.dropped)
        if result.dropped:
            counts = ", ".join(f"{why.value}: {n}" for why, n in result.dropped.items())
            n = len(candidates)
            log.info("Dropped %d of %d candidates (%s), %s", n - len(result.kept), n, counts, rules.level)
        return list(result.kept)

    async def checked(self, candidates: Sequence[Candidate], rules: Rules = STANDARD) -> Filtered:
        """Apply the checks that need no judge, in threads: long texts would hold the event loop.

        A candidate whose checks are overdue is dropped, and the others are still checked.
        """
        kept: list[Candidate] = []
        dropped: Counter[Drop] = Counter()
        for candidate in candidates:
            try:
                one = await self._threads.run(partial(self.apply, [candidate], rules))
            except TimeoutError:
                log.warning("The checks of a candidate are overdue; it is dropped")
                one = Filtered((), {Drop.TOO_SLOW: 1})
            kept += one.kept
            dropped.update(one.dropped)
        return Filtered(tuple(kept), dict(dropped))

    def apply(self, candidates: Sequence[Candidate], rules: Rules = STANDARD) -> Filtered:
        """Sanitise candidates and sort them into kept and dropped, without the judge. Blocks."""
        tidy = [replace(one, text=self.tidied(_readable(one), rules)) for one in candidates]
        verdicts = [(candidate, self.reason(candidate.text, rules)) for candidate in tidy]
        return Filtered(
            kept=tuple(candidate for candidate, reason in verdicts if reason is None),
            dropped=dict(Counter(reason for _, reason in verdicts if reason is not None)),
        )

    def tidied(self, text: str, rules: Rules = STANDARD) -> str:
        """Return a text without the mentions and links that the level removes."""
        level = LEVELS[rules.level]
        if len(text) > MAX_LENGTH:
            return text  # it is dropped for its length
        for _ in range(_PASSES):  # without a link or mention, what follows can read differently
            before = text
            text = tidied(
                text, unmask=level.masked, remove_links=not level.links, remove_mentions=not level.mentions
            )
            if text == before:
                break
        return text

    def reason(self, text: str, rules: Rules = STANDARD) -> Drop | None:
        """Return the first reason to drop a text, or None."""
        seen = visible(text)
        if len(text) > MAX_LENGTH:
            return Drop.TOO_LONG
        if not any(is_readable(char) for char in seen):
            return Drop.BLANK
        own = secrets_of(rules.secrets)
        if _has_role_marker(text) or self._secrets.leak_in(text) or own.leak_in(text):
            return Drop.LEAKED_PROMPT
        if link := _unwanted_link(text, LEVELS[rules.level]):
            return link
        if is_loop(seen):
            return Drop.LOOP
        return Drop.BLOCKED_TERM if is_blocked(text, rules.terms) else None

    async def _judged(self, result: Filtered, rules: Rules) -> Filtered:
        """Drop candidates that the judge rates as toxic.

        If it fails, only the strictest level drops all. If it does not answer in time, every level does.
        """
        if self._judge is None or not result.kept:
            return result
        try:
            async with asyncio.timeout(self._judge_s):
                verdicts = await self._judge.toxicity([candidate.text for candidate in result.kept])
        except TimeoutError:
            log.warning("The toxicity model is overdue; candidates dropped: %d", len(result.kept))
            return Filtered((), Counter(result.dropped) + Counter({Drop.TOO_SLOW: len(result.kept)}))
        except (RuntimeError, MemoryError) as exc:  # what torch raises when a device fails
            log.warning("The toxicity model failed (%s)", type(exc).__name__)
            verdicts = [1.0 if rules.level is Level.STRICT else 0.0] * len(result.kept)
        bound = LEVELS[rules.level].toxicity
        kept = tuple(c for c, verdict in zip(result.kept, verdicts, strict=True) if verdict < bound)
        n_toxic = len(result.kept) - len(kept)
        return Filtered(kept, {**result.dropped, Drop.TOXIC: n_toxic}) if n_toxic else result


def _readable(candidate: Candidate) -> str:
    """Return the text of a candidate without markup that Discord does not render."""
    text = candidate.text
    return text if len(text) > MAX_LENGTH else readable(text, unfinished=candidate.unfinished)


def _has_role_marker(text: str) -> bool:
    """Return whether a role marker has an effect in a text: code, quotes and sentences may be about one."""
    return any(has_mark(folded(reading)) for reading in {text, shown(text), visible(text)})


def _unwanted_link(text: str, level: _Treatment) -> Drop | None:
    """Return the reason to drop a text for its links, or None.

    The text is judged as a whole and as the messages in which it is posted, because a cut can end code. Both
    are judged as they stand and without the characters that are not shown.
    """
    if not level.invites and has_invitation(text):
        return Drop.INVITE_LINK
    readings = {reading for posted in {text, *split_message(text)} for reading in (posted, shown(posted))}
    if any(_has_masked_link(reading) for reading in readings):
        return Drop.MASKED_LINK
    return Drop.LINK if not level.links and any(map(_has_link, readings)) else None


def _has_masked_link(text: str) -> bool:
    return any(part.kind is Kind.MASKED for part in parts_of(text)) or has_masked_link(without_code(text))


def _has_link(text: str) -> bool:
    if any(part.kind is Kind.ADDRESS for part in parts_of(text)):
        return True
    return _LINK.search(visible(without_code(text))) is not None
