"""Every text of the bot is translated into every language and keeps its placeholders, commands and markup."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterator

import discord
import pytest

from bot.languages import LANGUAGES, everywhere, list_of, sentences_of, speaking, tr
from tests.rig.catalogues import BOT, KEYWORDS, catalogue_of, template

ENGLISH = {message.id for message in template() if message.id}
_KEPT = re.compile(r"\{[^}]*\}|`[^`]*`|<[^>]*>|\*{1,2}|\[|\]\(")
"""Placeholders, commands, and Discord's markup."""


def kept_in(text: str) -> list[str]:
    return sorted(_KEPT.findall(text))


ALL = sorted(set(LANGUAGES.values()))

SCRIPTS = {
    "zh_CN": {"CJK"},
    "ja": {"CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC"},
    "ko": {"HANGUL"},
}
"""Scripts of a language, as Unicode names its letters; all others are written in Latin letters."""
ENCODINGS = {"zh_CN": "gb2312", "ja": "shift_jis", "ko": "euc_kr", "pl": "iso8859_2", "fr": "iso8859_15"}
"""Encoding with the letters of one language, such as no traditional characters; otherwise Latin-1."""
NAMES = set("A AutoMod B Discord False KB True UTC per relaxed standard strict token".split())
"""Latin words in the texts of languages with a script of their own: names, values and units."""
SAME = set("emoji formal links messages model persona question server stop tokens".split())
"""Words that are the same in English and in another language."""
ENGLISH_WORDS = re.compile(
    r"\b(?:the|you|your|reply|replies|with|and|which|this|that|of|is|are|not|what|how|from)\b", re.IGNORECASE
)
_ENDS = ".。?？!！:："
_FULL_WIDTH = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff][,.;:!?()]|[,;:!?()][\u3040-\u30ff\u4e00-\u9fff]")
"""ASCII punctuation beside a Chinese or Japanese letter."""


def forms_in(language: str) -> Iterator[tuple[str, str]]:
    """Yield each form of each translation, with its English text."""
    for message in catalogue_of(language):
        if message.id:
            forms = message.string if isinstance(message.string, tuple) else (message.string,)
            for form in forms:
                yield message.id[-1] if isinstance(message.id, tuple) else message.id, form


@pytest.mark.parametrize("language", ALL)
def test_a_catalogue_says_everything_and_keeps_what_is_no_word(language):
    said = {message.id: message.string for message in catalogue_of(language) if message.id}

    assert said.keys() == ENGLISH, "run `make translations`, then translate what is empty"
    for text, translation in said.items():
        if isinstance(text, tuple):
            one, many = text
            assert all(translation), many
            assert all(kept_in(form) in (kept_in(one), kept_in(many)) for form in translation), many
        else:
            assert translation, text
            assert kept_in(translation) == kept_in(text), text


def plain(text: str) -> str:
    """Return a text without placeholders, commands and markup."""
    return re.sub(r"\{[^}]*\}|`[^`]*`|<[^>]*>", " ", text)


@pytest.mark.parametrize("language", ALL)
def test_a_catalogue_has_the_letters_of_its_language_only(language):
    scripts, encoding = SCRIPTS.get(language, {"LATIN"}), ENCODINGS.get(language, "latin_1")
    for _, said in forms_in(language):
        words = re.findall(r"[A-Za-z]+", plain(said)) if language in SCRIPTS else []
        assert set(words) <= NAMES, said
        letters = [
            char for char in plain(said) if char.isalpha() and not (language in SCRIPTS and char.isascii())
        ]
        assert {unicodedata.name(letter).split()[0].split("-")[0] for letter in letters} <= scripts, said
        "".join(letters).encode(encoding)  # raises at a letter of another language


@pytest.mark.parametrize("language", ALL)
def test_no_text_is_left_in_english(language):
    for text, said in forms_in(language):
        words = re.findall(r"[a-z]+", plain(said).lower())
        assert said != text or (set(words) <= SAME and language not in SCRIPTS) or not words, text
        assert not ENGLISH_WORDS.search(plain(said)), said


@pytest.mark.parametrize("language", ALL)
def test_a_sentence_stays_a_sentence(language):
    for text, said in forms_in(language):
        ends = [one.rstrip("*\n ")[-1] in _ENDS for one in (text, said)]
        assert ends[0] == ends[1], said
        assert said.startswith("**") == text.startswith("**"), said  # /compare finds its heading by it
        if language in ("zh_CN", "ja"):
            assert not _FULL_WIDTH.search(re.sub(r"per: \w+", "", plain(said))), said


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("Choose whom I answer, and where. Deny overrides allow.", ("deny", "allow")),
        ("allow: I answer only those on the list; neither: remove from both lists", ("allow", "neither")),
        ("Only with per: role. Its members get this limit if it is higher.", ("role",)),
    ],
)
@pytest.mark.parametrize("language", ALL)
def test_a_description_names_choices_as_discord_shows_them(language, text, choices):
    said = dict(forms_in(language))

    assert all(said[choice].lower() in said[text].lower() for choice in choices), said[text]


@pytest.mark.parametrize(
    ("locale", "listed", "said", "seconds"),
    [
        (discord.Locale.german, "a, b, c", "a. b.", "1,5"),
        (discord.Locale.polish, "a, b, c", "a. b.", "1,5"),
        (discord.Locale.korean, "a, b, c", "a. b.", "1.5"),
        (discord.Locale.japanese, "a、b、c", "a.b.", "1.5"),
        (discord.Locale.chinese, "a、b、c", "a.b.", "1.5"),
        (discord.Locale.taiwan_chinese, "a, b, c", "a. b.", "1.5"),
    ],
)
def test_lists_sentences_and_numbers_are_joined_as_the_language_does(locale, listed, said, seconds):
    with speaking(locale):
        assert list_of(["a", "b", "c"]) == listed
        assert (list_of([]), list_of(["{a}"]), list_of(["", "a"])) == ("", "{a}", "a")
        assert sentences_of("a.", "b.") == said
        assert tr("{rating} of 5", rating=1.5).count(seconds) == 1


def test_everywhere_knows_a_text_in_all_languages():
    assert len(everywhere(["I answer again."])) == 1 + len(set(LANGUAGES.values()))


def test_the_extraction_sees_every_text_that_is_said():
    calls = [
        node
        for path in BOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS
    ]
    said = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}

    assert said == {text[0] if isinstance(text, tuple) else text for text in ENGLISH}
