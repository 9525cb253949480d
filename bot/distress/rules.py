"""Rules that recognise a message about self-harm or danger, in ten languages. Linear time by construction.

The rules of a language are in ``languages/<language>.toml``. They describe first-person intent (``self``),
worry about somebody else (``friend``) and danger from others (``danger``). What ``idioms`` match is removed
first, so "this game is killing me, I want to die" is still recognised. A message that matches ``fiction`` is
ignored.

Notation of a rule: plain words as people write them, with ``|``, ``(...)``, ``?`` and ``*``; ``_`` is any
ending of a word, `` ... `` up to six words (ten characters in scripts without spaces), ``{name}`` a part from
``[parts]``, and ``[.]`` the end of a sentence. Case, accents, apostrophes and repeated letters do not matter.
RE2 matches all rules of one kind in one pass and cannot backtrack. No Discord, no settings.
"""

from __future__ import annotations

import re
import threading
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, get_args

import re2

from bot.distress.reading import (
    collapsed,
    folded,
    joined_form,
    spaced_forms,
    spelt_out,
    to_hiragana,
)
from bot.moderation.own_words import own_words
from bot.settings import HelpLanguage

LANGUAGES: tuple[HelpLanguage, ...] = get_args(HelpLanguage)
FOLDER = Path(__file__).parent / "languages"
_MEMORY = 4 << 20
"""Memory that RE2 may use for one pattern, bytes."""
_MEMORY_OF_ALL = 24 << 20
"""The same for the patterns that every message is compared with; with 4 MB they are 40 times slower."""
_GAP = r"(?:[^ .]+ ){0,6}"
_JOINED_GAP = "[^.]{0,10}"
_OPTIONAL = re.compile(r" \(([^()]*[^() ])\)\?(?= |$)")
"""An optional word; the space before it belongs to it."""
_WORD = re.compile(r"[^\W\d_]+")
_PART = re.compile(r"\{(\w+)\}")
_LETTERS_TWICE = re.compile(r"([a-z])\1+")


class Kind(StrEnum):
    """Kind of distress; the answer depends on it."""

    SELF = "self_harm"
    """The author speaks of harming themselves."""
    FRIEND = "friend"
    """The author worries about somebody else."""
    DANGER = "danger"
    """The author is in danger from others."""


_RULES = {Kind.SELF: "self", Kind.FRIEND: "friend", Kind.DANGER: "danger"}
"""Kind -> its list of rules in the file of a language."""


@dataclass(frozen=True, slots=True)
class Distress:
    """What was recognised in a message.

    Attributes:
        kind: Kind of distress.
        language: Language of the rule that matched.
    """

    kind: Kind
    language: HelpLanguage


def distress_in(text: str) -> Distress | None:
    """Return the distress that a message speaks of; None: none. Linear in its length."""
    said = own_words(text)
    spaced, joined = spaced_forms(said), joined_form(said)
    words = {word for form in spaced for word in spelt_out(form)}
    forms = {collapsed(form) for form in spaced}
    spaced_rules, joined_rules = _all_rules()
    return spaced_rules.best(forms, words) or (joined_rules.best({joined}, ()) if joined else None)


def prepare() -> None:
    """Read the rules and compile the pattern of all, so that the first message does not wait for it."""
    _all_rules()


class _Rules:
    """The rules of one language.

    Each list is compiled when it is first needed: :class:`_RuleSet` finds with one pattern whether any rule
    of any language matches, which is rare, and compiled rules take memory.
    """

    def __init__(self, language: HelpLanguage) -> None:
        read: dict[str, Any] = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
        self.language: HelpLanguage = language
        self.joined: bool = read.get("joined", False)
        kinds = {
            kind: [_with_parts(one, read["parts"]) for one in rules] for kind, rules in read["rules"].items()
        }
        text = _LETTERS_TWICE.sub(r"\1", folded(repr(read)))
        self._known = frozenset(text if self.joined else _WORD.findall(text))
        patterns = {kind: [self._pattern(one) for one in rules] for kind, rules in kinds.items()}
        self.all = [one for kind in Kind for one in patterns[_RULES[kind]]]
        self.all_spelt = [] if self.joined else [_without_spaces(one) for one in kinds["self"] if " " in one]
        self._patterns = patterns | {"spelt": self.all_spelt or ["[^\\s\\S]"]}
        self._compiled: dict[str, Any] = {}

    def _rule(self, name: str) -> Any:
        if name not in self._compiled:
            self._compiled[name] = _compiled(self._patterns[name])
        return self._compiled[name]

    def kind_of(self, form: str) -> Kind | None:
        """Return the kind of distress that a form of a message speaks of."""
        if self._rule("fiction").search(form):
            return None
        meant = self._rule("idioms").sub(" # ", form)
        rest = self._rule("friend").sub(" # ", meant)
        if self._rule("self").search(rest):
            return Kind.SELF
        if self._rule("danger").search(meant):
            return Kind.DANGER
        return Kind.FRIEND if rest != meant else None

    def spells(self, word: str) -> bool:
        """Return whether a word is a sentence about self-harm whose spaces were left out."""
        return self._rule("spelt").search(word) is not None

    def n_known(self, forms: Iterable[str]) -> int:
        """Return how many words of a message (characters in scripts without spaces) its file holds."""
        return sum(word in self._known for form in forms for word in (form if self.joined else form.split()))

    def _pattern(self, source: str) -> str:
        if self.joined:
            return to_hiragana(source).replace("...", _JOINED_GAP)
        text = _LETTERS_TWICE.sub(r"\1", folded(source.replace("'", "\0")))
        text = text.replace("\0", " ?").replace(" ... ", " _GAP_").replace(" ...", "")
        return f" (?:{text.replace('_GAP_', _GAP).replace('_', '[^ ]*')}) "


def _with_parts(source: str, parts: dict[str, str]) -> str:
    """Fill in named parts, which may name further parts."""
    while _PART.search(source):
        source = _PART.sub(lambda part: parts[part[1]], source)
    return _OPTIONAL.sub(r"( (\1))?", source)


def _without_spaces(source: str) -> str:
    """Return the pattern of a rule as one word, as in a hashtag or a message whose letters are spelt out."""
    source = source.replace(" ?", "")
    return folded(source).replace(" ...", "").replace(" ", "").replace("_", "[a-z]*")


def _compiled(patterns: Sequence[str], memory: int = _MEMORY) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.never_capture = True
    options.log_errors = False
    return re2.compile("|".join(patterns), options)


class _RuleSet:
    """The rules of all languages that read the same form, with one pattern that finds any of them.

    Related languages share words, so rules of several may match; the language that knows most words wins.
    """

    def __init__(self, rules: Sequence[_Rules]) -> None:
        self._rules = tuple(rules)
        self._any = _compiled([pattern for one in rules for pattern in one.all], _MEMORY_OF_ALL)
        spelt = [pattern for one in rules for pattern in one.all_spelt]
        self._any_spelt = _compiled(spelt, _MEMORY_OF_ALL) if spelt else None

    def best(self, forms: Iterable[str], words: Iterable[str]) -> Distress | None:
        """Return what is recognised in the forms of a message, or in its spelt-out words."""
        suspect = [form for form in forms if self._any.search(form)]
        spelt = [word for word in words if self._any_spelt is not None and self._any_spelt.search(word)]
        found: list[tuple[int, Distress]] = []
        for rules in self._rules if suspect or spelt else ():
            kind = Kind.SELF if any(rules.spells(word) for word in spelt) else None
            kind = kind or next((kind for form in suspect if (kind := rules.kind_of(form))), None)
            if kind is not None:
                found.append((rules.n_known(suspect or spelt), Distress(kind, rules.language)))
        return max(found, key=lambda one: one[0])[1] if found else None


_LOCK = threading.Lock()


def _all_rules() -> tuple[_RuleSet, _RuleSet]:
    """Return the rules of scripts with and without spaces; the first call reads and compiles them."""
    with _LOCK:
        return _read()


@cache
def _read() -> tuple[_RuleSet, _RuleSet]:
    rules = [_Rules(language) for language in LANGUAGES]
    return _RuleSet([one for one in rules if not one.joined]), _RuleSet([one for one in rules if one.joined])
