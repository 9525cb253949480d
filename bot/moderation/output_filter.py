"""The last look at candidates before one of them may be posted.

A model can answer with nothing, with its own instructions, with the same sentence for ever, with a link
that hides where it leads, or with what a server does not want to read. Such candidates are dropped here,
before ranking, so that no member's taste can bring them back; by the level of the server, mentions and
links are taken out (:mod:`bot.moderation.sanitizing`). Pings are harmless at every level:
``AllowedMentions.none()`` where the reply is posted. ``bot/replies/responder.py`` calls it, through the
protocol :class:`CandidateFilter`, between generator and ranker.
"""

from __future__ import annotations

import logging
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol
from urllib.parse import unquote

from bot.generation import Candidate
from bot.moderation.blocked_terms import is_blocked
from bot.moderation.sanitizing import LINK, tidied
from bot.settings import SafetySettings
from storage.servers.safety_rules import ServerRules

log = logging.getLogger(__name__)

MAX_LENGTH = 20_000
"""Longest candidate that may be posted, characters: ten messages."""

_LEAST_LEAK = 20
"""A shorter persona or instruction may well stand in an honest reply, characters."""

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_MARKUP = re.compile(
    r"<\|[^|<>\n]{1,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</?s>", re.IGNORECASE
)
_ROLE_LINE = re.compile(r"^\W{0,4}(?:system|assistant|user|human)\W{0,4}:", re.IGNORECASE | re.MULTILINE)
_INVITE = re.compile(
    r"(?:discord(?:app)?\s*\.\s*(?:gg|com\s*/+\s*invite)|(?:dsc|invite)\.gg/|discord\.(?:me|io|li)/)",
    re.IGNORECASE,
)
_MASKED_LINK = re.compile(r"\[[^\]\n]{0,300}\]\(\s*<?[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_NOT_SPOKEN = re.compile(r"[^\w\u0080-\U0010ffff]+")
_TOKEN = re.compile(r"\w+|[!-/:-@\[-`{-~]+|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?…。！？\n]+")
_STRETCH = 120
"""Characters looked at together when searching for a stutter."""
_STUTTER_RATIO = 0.3
"""Compressed size, as a share, under which a stretch counts as a stutter."""
_WINDOW = 40
"""Tokens looked at together when searching for a loop."""


class Drop(StrEnum):
    """Why a candidate must not be posted."""

    BLANK = "blank"
    """Nothing that can be read: white space, zero-width characters, punctuation alone."""
    TOO_LONG = "too long"
    LEAKED_PROMPT = "leaked prompt"
    """Role markers of the chat template, or the persona or a style instruction word for word."""
    INVITE_LINK = "invite link"
    MASKED_LINK = "masked link"
    """``[text](address)``: shows one thing and leads to another."""
    LINK = "link"
    """An address that could not be taken out, where none is wanted."""
    LOOP = "loop"
    """The same words again and again."""
    BLOCKED_TERM = "blocked term"
    """A word that the host or the server's managers do not want to read."""
    TOXIC = "toxic"
    """The model for toxicity says so."""


class Level(StrEnum):
    """How strict a server is. What each level does stands in :data:`LEVELS`."""

    RELAXED = "relaxed"
    STANDARD = "standard"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class _Treatment:
    """What a level does.

    Attributes:
        invites: Whether invitations to servers may stand.
        masked: Whether ``[text](address)`` is written out; else such a candidate is dropped.
        links: Whether addresses may stand; else they are taken out.
        mentions: Whether mentions may stand, which ping nobody; else they are taken out.
        toxicity: From how toxic on a candidate is dropped, 0 to 1.
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
    """What holds for one reply.

    Attributes:
        level: How strict the server is.
        terms: Words that must not stand in it.
        secrets: What must not be repeated word for word, beside what holds everywhere.
    """

    level: Level = Level.STANDARD
    terms: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


STANDARD = Rules()


@dataclass(frozen=True, slots=True)
class Filtered:
    """What passed, in the order given, and how many were dropped for which reason; no dropped text."""

    kept: tuple[Candidate, ...]
    dropped: Mapping[Drop, int]


class Judge(Protocol):
    """Texts -> how toxic they are. Implementations never block the event loop."""

    async def toxicity(self, texts: Sequence[str]) -> list[float]:
        """Judge each text, 0 to 1, in order.

        Raises:
            RuntimeError: The model failed.
        """
        ...


class CandidateFilter(Protocol):
    """Candidates -> those that may be posted. Implementations never block the event loop."""

    @property
    def n_dropped(self) -> Mapping[Drop, int]:
        """What was dropped so far, by reason."""
        ...

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Keep other texts from being repeated."""
        ...

    def use_settings(self, settings: SafetySettings) -> None:
        """Go by other settings from the next reply on, as far as they can change."""
        ...

    def rules_for(self, server: ServerRules | None) -> Rules:
        """What holds in a server; None: its rules cannot be read."""
        ...

    def apply(self, candidates: Sequence[Candidate], rules: Rules) -> Filtered:
        """What can be said of candidates at once, without waiting for anybody."""
        ...

    async def keep(self, candidates: Sequence[Candidate], rules: Rules) -> list[Candidate]:
        """Return the candidates that may be posted, as they may be posted, in order."""
        ...


class OutputFilter:
    """Drops candidates that must not be posted.

    Args:
        secrets: Persona and style instructions; a candidate that repeats one word for word leaks the prompt.
        settings: What the host wants everywhere.
        judge: Says how toxic a text is; None: nobody does.
    """

    def __init__(
        self,
        secrets: Sequence[str] = (),
        *,
        settings: SafetySettings | None = None,
        judge: Judge | None = None,
    ) -> None:
        self.n_dropped: Counter[Drop] = Counter()
        self._judge = judge
        self.use_secrets(secrets)
        self.use_settings(settings or SafetySettings())

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Keep other texts from being repeated."""
        self._secrets = _secret(secrets)

    def use_settings(self, settings: SafetySettings) -> None:
        """Go by the host's other level and terms from the next reply on; the judge stays."""
        self._host = Rules(Level(settings.level), settings.blocked_terms)

    def rules_for(self, server: ServerRules | None) -> Rules:
        """What holds in a server: its level or the host's, its terms and the host's.

        None: its rules cannot be read; then the strictest level holds, rather than one too lax.
        """
        if server is None:
            return replace(self._host, level=Level.STRICT)
        known = server.level in set(Level)
        return Rules(Level(server.level) if known else self._host.level, self._host.terms + server.terms)

    async def keep(self, candidates: Sequence[Candidate], rules: Rules = STANDARD) -> list[Candidate]:
        """Return the candidates that may be posted, in order; what was dropped is logged as counts."""
        result = await self._judged(self.apply(candidates, rules), rules)
        self.n_dropped.update(result.dropped)
        if result.dropped:
            counts = ", ".join(f"{reason.value}: {n}" for reason, n in result.dropped.items())
            n_dropped = len(candidates) - len(result.kept)
            log.info("Dropped %d of %d candidates (%s), %s", n_dropped, len(candidates), counts, rules.level)
        return list(result.kept)

    def apply(self, candidates: Sequence[Candidate], rules: Rules = STANDARD) -> Filtered:
        """Tidy candidates up and sort them into kept and dropped; the judge is not asked."""
        tidy = [replace(candidate, text=self.tidied(candidate.text, rules)) for candidate in candidates]
        verdicts = [(candidate, self.reason(candidate.text, rules)) for candidate in tidy]
        return Filtered(
            kept=tuple(candidate for candidate, reason in verdicts if reason is None),
            dropped=dict(Counter(reason for _, reason in verdicts if reason is not None)),
        )

    def tidied(self, text: str, rules: Rules = STANDARD) -> str:
        """Return a text without what the level takes out."""
        level = LEVELS[rules.level]
        if len(text) > MAX_LENGTH:
            return text  # dropped anyway
        return tidied(
            text, unmask=level.masked, remove_links=not level.links, remove_mentions=not level.mentions
        )

    def reason(self, text: str, rules: Rules = STANDARD) -> Drop | None:
        """Return the first reason to drop a text, or None."""
        visible = _visible(text)
        if len(text) > MAX_LENGTH:
            return Drop.TOO_LONG
        if not any(_is_readable(char) for char in visible):
            return Drop.BLANK
        if _leaks_prompt(visible, self._secrets + _secret(rules.secrets)):
            return Drop.LEAKED_PROMPT
        if link := _unwanted_link(visible, LEVELS[rules.level]):
            return link
        if _is_loop(visible):
            return Drop.LOOP
        return Drop.BLOCKED_TERM if is_blocked(text, rules.terms) else None

    async def _judged(self, result: Filtered, rules: Rules) -> Filtered:
        """Ask the judge about what is left. Where the judge fails, only the strictest level drops it all."""
        if self._judge is None or not result.kept:
            return result
        try:
            verdicts = await self._judge.toxicity([candidate.text for candidate in result.kept])
        except (RuntimeError, MemoryError) as exc:  # what torch raises when a device fails
            log.warning("the model for toxicity failed (%s)", type(exc).__name__)
            verdicts = [1.0 if rules.level is Level.STRICT else 0.0] * len(result.kept)
        bound = LEVELS[rules.level].toxicity
        kept = tuple(c for c, verdict in zip(result.kept, verdicts, strict=True) if verdict < bound)
        n_toxic = len(result.kept) - len(kept)
        return Filtered(kept, {**result.dropped, Drop.TOXIC: n_toxic}) if n_toxic else result


def _leaks_prompt(text: str, secrets: Sequence[str]) -> bool:
    prose = _CODE.sub(" ", text)  # "user:" is an honest line of a YAML file
    if _MARKUP.search(text) or _ROLE_LINE.search(prose):
        return True
    plain = _plain(text)
    return any(secret in plain for secret in secrets)


def _secret(texts: Sequence[str]) -> tuple[str, ...]:
    """Spell what must not be repeated for comparison; short texts are none."""
    return tuple(plain for text in texts if len(plain := _plain(text)) >= _LEAST_LEAK)


def _unwanted_link(visible: str, level: _Treatment) -> Drop | None:
    """Return what is wrong with the links of a text, or None."""
    prose = _CODE.sub(" ", visible)
    if not level.invites and _INVITE.search(unquote(visible)):
        return Drop.INVITE_LINK
    if _MASKED_LINK.search(prose):
        return Drop.MASKED_LINK
    return Drop.LINK if not level.links and LINK.search(prose) else None


def _visible(text: str) -> str:
    """Return a text as the eye reads it: compatibility forms folded, invisible characters removed."""
    folded = unicodedata.normalize("NFKC", text)
    return "".join(char for char in folded if unicodedata.category(char) != "Cf")


def _is_readable(char: str) -> bool:
    """Tell whether a character says something: a letter, a digit, or a symbol such as an emoji."""
    return char.isalnum() or (char > "\x7f" and unicodedata.category(char) in ("So", "Sm"))


def _plain(text: str) -> str:
    """Return a text for comparison: visible, without case, white space collapsed."""
    return " ".join(_visible(text).casefold().split())


def _is_loop(text: str) -> bool:
    """Tell whether a text says the same thing again and again, as small models that lose the thread do."""
    if _stutters(text):
        return True
    sentences = [plain for s in _SENTENCE_END.split(text) if len((plain := _plain(s)).split()) >= 4]
    if sentences and max(Counter(sentences).values()) >= max(3, len(sentences) / 3):
        return True
    return any(_share_of_new_trigrams(window) < 0.3 for window in _windows(_TOKEN.findall(text.casefold())))


def _stutters(text: str) -> bool:
    """Tell whether some stretch of a text is one short thing over and over, such as "ha ha ha ...".

    Repetition compresses: two lines of honest prose shrink to nine tenths, a stutter to a fifth. Takes time
    in proportion to the length; a regular expression for repeats held up the bot for a second.
    """
    spoken = _NOT_SPOKEN.sub(" ", text)
    for start in range(0, max(1, len(spoken) - _STRETCH // 2), _STRETCH // 2):
        stretch = spoken[start : start + _STRETCH].encode()
        if len(stretch) >= _STRETCH // 2 and len(zlib.compress(stretch)) < _STUTTER_RATIO * len(stretch):
            return True
    return False


def _windows(tokens: list[str]) -> Iterator[list[str]]:
    """Yield overlapping windows of a text; too short a text is never called a loop."""
    if len(tokens) >= 12:
        for start in range(0, max(1, len(tokens) - _WINDOW // 2), _WINDOW // 2):
            yield tokens[start : start + _WINDOW]


def _share_of_new_trigrams(tokens: list[str]) -> float:
    """Return the share of distinct runs of three tokens, 0 to 1."""
    trigrams = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0
