"""Every text for members, in every language, with counts from 0 to 22: the number and its noun agree.

The catalogues themselves decide what is wrong. The word after ``{n}`` belongs to the plural category of the
counts that it stands with, such as "one", "few" or "many" in Polish. No text, with plural forms or without,
may say a number before a word of other categories only. Which form a count takes must be what the Unicode
tables (CLDR, in Babel) say of the language. Chinese, Japanese and Korean have one category, so each
text there must fit every count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import pytest
from babel import Locale

from bot.languages import ENGLISH, LANGUAGES, _catalogue
from tests.conformance.test_counts import NOUNS
from tests.rig.catalogues import template

COUNTS = (0, 1, 2, 5, 12, 22)
ALL_LANGUAGES = (ENGLISH, *sorted(set(LANGUAGES.values())))
TEXTS = [message.id for message in template() if message.id]
PLURALS = [text for text in TEXTS if isinstance(text, tuple)]

CONSTANTS = {
    "most": 100,
    "entries": 100,
    "roles": 25,
    "longest": 100,
    "percent": 40,
    "gain": "+1.0 (+0.5 to +1.5)",
}
"""Placeholders of limits that the code fixes, shares before a percent sign, a value with an interval."""

SAME_FOR_ALL = {"fr": {"avis", "choix"}, "it": {"token"}}
"""Nouns whose plural is their singular."""

_AFTER_NUMBER = re.compile(
    r"\{n\}\W+(?:of |de |von |sur )?(?:(?:other|such|anderen|solchen|autres?|otras?|outras?) )?(\w+)"
)


class Count(int):
    """A count that every placeholder takes, with whatever format."""

    def __format__(self, spec: str) -> str:
        return "2026-01-01" if "%" in spec else format(int(self), "" if spec.endswith("f") else spec)


def forms_of(text: tuple[str, str], language: str) -> dict[int, str]:
    """Return the form of a plural text for each count."""
    return {n: _catalogue(language).ngettext(*text, n) for n in COUNTS}


@cache
def category(n: int, language: str) -> str:
    """Return the plural category of a count in a language, such as ``few``."""
    return Locale.parse(language).plural_form(n)


def nouns_of(plurals: Iterable[Mapping[int, str]], language: str) -> dict[str, set[str]]:
    """Return each word after the number in plural texts, with the categories it stands in."""
    found: dict[str, set[str]] = defaultdict(set)
    for forms in plurals:
        for n, form in forms.items():
            for noun in _AFTER_NUMBER.findall(form):
                found[noun].add(category(n, language))
    return dict(found)


def wrong_in(said: str, n: int, language: str, nouns: Mapping[str, set[str]]) -> list[str]:
    """Return each number with the wrong form of its noun in a text."""
    wrong = sorted(noun for noun, known in nouns.items() if category(n, language) not in known)
    return re.findall(rf"\b{n} (?:{'|'.join(map(re.escape, wrong))})\b", said) if wrong else []


def lexicon(language: str) -> dict[str, set[str]]:
    nouns = nouns_of((forms_of(text, language) for text in PLURALS), language)
    return {noun: {"other"} for noun in NOUNS} | nouns if language == ENGLISH else nouns


def rendered(language: str) -> Iterator[tuple[int, str, str]]:
    """Yield (count, English text, text in the language), every placeholder filled with the count."""
    for text in TEXTS:
        for n in COUNTS:
            form = (
                forms_of(text, language)[n] if isinstance(text, tuple) else _catalogue(language).gettext(text)
            )
            names = re.findall(r"\{(\w+)", form)
            values: dict[str, Any] = {name: CONSTANTS.get(name, Count(n)) for name in names}
            yield n, text[-1] if isinstance(text, tuple) else text, form.format(**values)


@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_no_text_says_a_number_with_the_wrong_form_of_its_noun(language):
    nouns = lexicon(language)

    wrong = [(text, wrong_in(said, n, language, nouns)) for n, text, said in rendered(language)]

    categories = {category(n, language) for n in COUNTS}
    for one in categories if len(categories) > 1 else ():
        assert sum(known == {one} for known in nouns.values()) >= 4, one
    assert [(text, found) for text, found in wrong if found] == []


@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_a_plural_text_has_a_form_of_its_own_for_one(language):
    same, inflects = SAME_FOR_ALL.get(language, set()), category(1, language) != category(5, language)
    for text in PLURALS:
        forms = forms_of(text, language)
        if inflects and not same & set(_AFTER_NUMBER.findall(forms[5])):
            assert forms[1] != forms[5], text
        assert all("{n}" in forms[n] for n in (2, 5)), text


@pytest.mark.parametrize("language", [language for language in ALL_LANGUAGES if language != ENGLISH])
def test_a_count_takes_the_form_that_its_language_gives_it(language):
    locale, plural = Locale.parse(language), _catalogue(language).plural

    by_category = defaultdict(set)
    for n in [*range(200), 1000, 10**6]:
        by_category[locale.plural_form(n)].add(plural(n))

    assert all(len(indices) == 1 for indices in by_category.values()), by_category
    assert len({index for indices in by_category.values() for index in indices}) == len(by_category)


@pytest.mark.parametrize(
    ("n", "said"),
    [(1, "on 1 members"), (5, "5 member wait"), (2, "I had 2 reply"), (0, "0 member"), (1, "1 replies")],
)
def test_control_a_wrong_form_is_found(n, said):
    assert wrong_in(said, n, ENGLISH, lexicon(ENGLISH))


@pytest.mark.parametrize(
    ("n", "said"), [(1, "1 osoby"), (2, "2 osób"), (5, "5 osoby"), (12, "12 tokeny"), (22, "22 tokenów")]
)
def test_control_a_wrong_form_is_found_among_three(n, said):
    assert wrong_in(said, n, "pl", lexicon("pl"))


@pytest.mark.parametrize(
    ("language", "forms", "n"),
    [
        ("de", {0: "{n} Antworten", 1: "{n} Antwort", 2: "{n} Antworten", 5: "{n} Antworten"}, 1),
        ("fr", {0: "{n} réponse", 1: "{n} réponse", 2: "{n} réponses", 5: "{n} réponses"}, 0),
    ],
)
def test_control_a_text_without_forms_is_found_by_the_nouns_of_the_others(language, forms, n):
    nouns = nouns_of([forms], language)

    assert nouns == {forms[1][4:]: {"one"}, forms[5][4:]: {"other"}}
    assert wrong_in(forms[5].format(n=n), n, language, nouns)
    assert not wrong_in(forms[n].format(n=n), n, language, nouns)
