"""The last look at candidates before one of them may be posted.

A model can answer with nothing, with its own instructions, with the same sentence for ever, or with a link
that hides where it leads. Such candidates are dropped here, before ranking, so that no member's taste can
bring them back. Nothing is rewritten: pings are made harmless by ``AllowedMentions.none()`` where the reply
is posted. Pure text; ``bot/responder.py`` calls it between the generator and the ranker.
"""

from __future__ import annotations

import logging
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from bot.generators import Candidate

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
    LOOP = "loop"
    """The same words again and again."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What passed, in the order given, and how many were dropped for which reason; no dropped text."""

    kept: tuple[Candidate, ...]
    dropped: Mapping[Drop, int]


class OutputFilter:
    """Drops candidates that must not be posted.

    Args:
        secrets: Persona and style instructions; a candidate that repeats one word for word leaks the prompt.
    """

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self.n_dropped: Counter[Drop] = Counter()
        self.use_secrets(secrets)

    def use_secrets(self, secrets: Sequence[str]) -> None:
        """Keep other texts from being repeated."""
        self._secrets = _secret(secrets)

    def keep(self, candidates: Sequence[Candidate], secrets: Sequence[str] = ()) -> list[Candidate]:
        """Return the candidates that may be posted, in order; what was dropped is logged as counts.

        Args:
            candidates: What was written.
            secrets: What else must not be repeated word for word.
        """
        result = self.apply(candidates, _secret(secrets))
        self.n_dropped.update(result.dropped)
        if result.dropped:
            counts = ", ".join(f"{reason.value}: {n}" for reason, n in result.dropped.items())
            n_dropped = len(candidates) - len(result.kept)
            log.info("Dropped %d of %d candidates (%s)", n_dropped, len(candidates), counts)
        return list(result.kept)

    def apply(self, candidates: Sequence[Candidate], secrets: tuple[str, ...] = ()) -> Filtered:
        """Sort candidates into kept and dropped; ``secrets`` are spelt for comparison."""
        verdicts = [(candidate, self.reason(candidate.text, secrets)) for candidate in candidates]
        return Filtered(
            kept=tuple(candidate for candidate, reason in verdicts if reason is None),
            dropped=dict(Counter(reason for _, reason in verdicts if reason is not None)),
        )

    def reason(self, text: str, secrets: tuple[str, ...] = ()) -> Drop | None:
        """Return the first reason to drop a text, or None."""
        visible = _visible(text)
        if len(text) > MAX_LENGTH:
            return Drop.TOO_LONG
        if not any(_is_readable(char) for char in visible):
            return Drop.BLANK
        if _leaks_prompt(visible, self._secrets + secrets):
            return Drop.LEAKED_PROMPT
        if _INVITE.search(unquote(visible)):
            return Drop.INVITE_LINK
        if _MASKED_LINK.search(_CODE.sub(" ", visible)):
            return Drop.MASKED_LINK
        return Drop.LOOP if _is_loop(visible) else None


def _leaks_prompt(text: str, secrets: Sequence[str]) -> bool:
    prose = _CODE.sub(" ", text)  # "user:" is an honest line of a YAML file
    if _MARKUP.search(text) or _ROLE_LINE.search(prose):
        return True
    plain = _plain(text)
    return any(secret in plain for secret in secrets)


def _secret(texts: Sequence[str]) -> tuple[str, ...]:
    """Spell what must not be repeated for comparison; short texts are none."""
    return tuple(plain for text in texts if len(plain := _plain(text)) >= _LEAST_LEAK)


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
