"""The language of a text, and the words by which its style is measured in that language.

Style features of English texts keep the values that the starter prior was fitted on. Other languages are told
apart by their script, or because they know more words of the text than English does. Words and lexicons are
in ``words/<language>.toml``. Chinese and Japanese are cut into words by their lexicons and by pairs of
characters. Pure functions; imports nothing of the project.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LEXICONS = (
    "first_person",
    "second_person",
    "hedges",
    "greetings",
    "courtesy",
    "positive",
    "negative",
    "humour",
)
ENGLISH = "en"
_FOLDER = Path(__file__).parent / "words"
_KANA = re.compile(r"[\u3041-\u30ff]")
_HAN = re.compile(r"[\u3400-\u9fff]")
_HANGUL = re.compile(r"[\uac00-\ud7a3]")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_PART = re.compile(r"[^\W_]+'?")
_NO_TEXT = re.compile(r"https?://\S+|`[^`\n]*`|<a?:\w+:\d+>")
_LATIN = re.compile(r"[a-z\u00c0-\u024f]")
_WIDE = str.maketrans(
    {"。": ". ", "．": ". ", "！": "! ", "？": "? ", "，": ", ", "、": ", ", "；": "; ", "：": ": "}
)
_MANY_DOTS = re.compile(r"…{2,}|。{2,}")
_ITEM = re.compile(r"^([^\S\n]*)(?:[・･]|[①-⑳]|(\d+)[、．])[^\S\n]*", re.MULTILINE)
_NOUN = re.compile(r"(?<=[a-zäöüß,;:] )[A-ZÄÖÜ](?=[a-zäöüß])")
_SHORT = 3
"""Up to so many words, a single one tells the language."""
_SURE = 3
"""Words by which a language must lead to be sure. No text of four public English sets is then another's."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much longer a text is in English: medians of the texts in ``tests/rig/parallel.toml``.

    Attributes:
        characters: English characters for one character.
        words: English words for one word.
        word_length: Factor that gives words their length in English.
    """

    characters: float = 1.0
    words: float = 1.0
    word_length: float = 1.0


SIZES = {
    "de": Sizes(0.93, 1.0, 0.85),
    "fr": Sizes(0.88, 1.0, 0.92),
    "es": Sizes(0.96, 1.09, 0.84),
    "pt": Sizes(0.97, 1.1, 0.85),
    "it": Sizes(1.01, 1.1, 0.86),
    "pl": Sizes(1.0, 1.2, 0.79),
    "zh": Sizes(2.64, 1.17, 2.39),
    "ja": Sizes(1.72, 0.78, 1.88),
    "ko": Sizes(1.53, 1.35, 1.25),
}


class Language:
    """The words of one language.

    Attributes:
        name: Its code.
        sizes: How lengths compare with English.
        joined: Whether it is written without spaces.
        has_case: Whether it has capital letters.
        pairs: Questions and their answers; an answer is relevant to its own question only.
    """

    def __init__(self, name: str) -> None:
        read = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
        self.name, self.sizes = name, SIZES.get(name, Sizes())
        self.joined: bool = read.get("joined", False)
        self.pairs: tuple[tuple[str, str], ...] = tuple((q, a) for q, a in read.get("pairs", ()))
        self.has_case = name not in ("zh", "ja", "ko")
        lists = {key: str(read.get(key, "")).split() for key in (*LEXICONS, "common", "extra")}
        self._words = {key: frozenset(w for w in words if w[-1] != "*") for key, words in lists.items()}
        self._stems = {key: tuple(w[:-1] for w in words if w[-1] == "*") for key, words in lists.items()}
        self.known = frozenset(word for words in self._words.values() for word in words)
        self.letters = frozenset(read.get("letters", ""))
        self._question = re.compile(read["question"]) if "question" in read else None
        self._piece = self._pieces() if self.joined else _PART if read.get("splits") else _WORD

    def _pieces(self) -> re.Pattern[str]:
        entries = "|".join(map(re.escape, sorted(self.known, key=lambda word: (-len(word), word))))
        han, kana = (rf"(?:(?!{entries})[{script}])" for script in (r"\u3400-\u9fff", r"\u3041-\u309f"))
        return re.compile(rf"{entries}|{han}{{1,2}}|{kana}{{1,3}}|[\u30a0-\u30ff]+|[a-z0-9]+")

    def spec(self) -> list[object]:
        """Return all that decides how texts in this language are measured."""
        words = [(key, sorted(whole), self._stems[key]) for key, whole in self._words.items()]
        question = None if self._question is None else self._question.pattern
        return [self.name, repr(self.sizes), self._piece.flags, question, sorted(self.letters), words]

    def length_of(self, text: str) -> float:
        """Return the length that a text would have in English, characters."""
        n_latin = sum(map(str.isascii, text)) if not self.has_case else 0
        return n_latin + (len(text) - n_latin) * self.sizes.characters

    def length_of_word(self, word: str) -> float:
        """Return the length that a word would have in English, characters."""
        return len(word) if not self.has_case and word.isascii() else len(word) * self.sizes.word_length

    def words(self, text: str) -> list[str]:
        """Return the words of a lower-case text."""
        return self._piece.findall(text)

    def n_in(self, lexicon: str, words: Iterable[str]) -> int:
        """Return how many words are in a lexicon."""
        whole, stems = self._words[lexicon], self._stems[lexicon]
        return sum(word in whole or word.startswith(stems) for word in words)

    def capitals(self, text: str) -> int:
        """Return the number of capital letters; in German without those that begin a noun."""
        found = sum(char.isupper() for char in text)
        return found - len(_NOUN.findall(text)) if self.name == "de" else found

    def plain(self, text: str) -> str:
        """Return a text with the punctuation and the list marks of English."""
        if self._question is not None:
            text = self._question.sub("? ", text)
        text = _ITEM.sub(lambda item: f"{item[1]}{item[2]}. " if item[2] else f"{item[1]}- ", text)
        return _MANY_DOTS.sub("…", text).translate(_WIDE)


def language_of(text: str) -> Language | None:
    """Return the language of a text; None if it is English or not known."""
    script = _language_of_script(text)
    if script is not None:
        return _languages()[script]
    words = _words_in(text)
    if not words:
        return None
    votes = _votes(words)
    best = max(_LATIN_LANGUAGES, key=lambda name: votes[name])
    enough = votes[best] >= 2 or len(words) <= _SHORT
    return _languages()[best] if votes[best] > votes[ENGLISH] and enough else None


def sure_language_of(text: str) -> str | None:
    """Return the code of the language, English too, that leads clearly by its words; None if none does.

    For texts in Latin letters. A wrong guess costs more here than none does, unlike in :func:`language_of`.
    """
    votes = _votes(_words_in(text))
    (first, most), (_, second) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    return first if most - second >= _SURE else None


def _words_in(text: str) -> list[str]:
    return _WORD.findall(text.lower().replace("’", "'"))


def spec() -> list[object]:
    """Return all that decides how texts in these languages are measured, for the id of the features."""
    return [language.spec() for language in (english(), *_languages().values())]


_LATIN_LANGUAGES = ("de", "fr", "es", "pt", "it", "pl")


def _language_of_script(text: str) -> str | None:
    text = _NO_TEXT.sub(" ", text)
    kana, han, hangul = (len(script.findall(text)) for script in (_KANA, _HAN, _HANGUL))
    if 3 * (kana + han + hangul) <= len(_LATIN.findall(text.lower())):
        return None
    if hangul > kana + han:
        return "ko"
    return "ja" if kana else "zh" if han else None


def _votes(words: Sequence[str]) -> Counter[str]:
    """Return how many words each language knows; a letter that only one language has counts as well."""
    votes: Counter[str] = Counter()
    known, letters = _known()
    for word in words:
        if len(word) == 1 and word.isascii():  # an item of a list, a variable
            continue
        for part in {word, *_PART.findall(word)} if "'" in word else (word,):
            votes.update(known.get(part, ()))
        if not word.isascii():
            votes.update(letters[char] for char in set(word) if char in letters)
    return votes


@cache
def english() -> Language:
    """Return the words of English."""
    return Language(ENGLISH)


@cache
def _languages() -> Mapping[str, Language]:
    return {name: Language(name) for name in SIZES}


@cache
def _known() -> tuple[Mapping[str, tuple[str, ...]], Mapping[str, str]]:
    """Return word -> the languages that know it, and letter -> the language that has it."""
    known: dict[str, list[str]] = {}
    languages = [english(), *(_languages()[name] for name in _LATIN_LANGUAGES)]
    for language in languages:
        for word in language.known:
            known.setdefault(word, []).append(language.name)
    letters = {char: language.name for language in languages for char in language.letters}
    return {word: tuple(names) for word, names in known.items()}, letters
