"""Every text for members, in every language, with counts of 0, 1, 2 and 5: the number and its noun agree.

What is wrong is decided by the catalogues themselves: the word after ``{n}`` in a form for one is a singular,
in the other forms a plural. No text, with plural forms or without, may say ``1`` before a plural or ``5``
before a singular. Which form a count takes must be what the Unicode tables (CLDR, in Babel) say of the
language.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest
from babel import Locale

from bot.languages import ENGLISH, LANGUAGES, _catalogue
from tests.conformance.test_counts import NOUNS
from tests.rig.catalogues import template

COUNTS = (0, 1, 2, 5)
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

SAME_FOR_ALL = {"fr": {"avis"}, "pt_BR": set(), "es": set(), "de": set()}
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


def is_one(n: int, language: str) -> bool:
    """Return whether a count takes the form for one in a language."""
    return Locale.parse(language).plural_form(n) == Locale.parse(language).plural_form(1)


def nouns_of(plurals: Iterable[Mapping[int, str]], language: str) -> tuple[set[str], set[str]]:
    """Return the singulars and the plurals that stand after the number in plural texts."""
    found: dict[bool, set[str]] = defaultdict(set)
    for forms in plurals:
        for n, form in forms.items():
            found[is_one(n, language)] |= set(_AFTER_NUMBER.findall(form))
    return found[True] - found[False], found[False] - found[True]


def wrong_in(said: str, n: int, language: str, singulars: set[str], plurals: set[str]) -> list[str]:
    """Return each number with the wrong form of its noun in a text."""
    wrong = plurals if is_one(n, language) else singulars
    return re.findall(rf"\b{n} (?:{'|'.join(map(re.escape, sorted(wrong)))})\b", said) if wrong else []


def lexicon(language: str) -> tuple[set[str], set[str]]:
    singulars, plurals = nouns_of((forms_of(text, language) for text in PLURALS), language)
    return (singulars, plurals | set(NOUNS)) if language == ENGLISH else (singulars, plurals)


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
    singulars, plurals = lexicon(language)

    wrong = [(text, wrong_in(said, n, language, singulars, plurals)) for n, text, said in rendered(language)]

    assert len(singulars) >= 5 and len(plurals) >= 5
    assert [(text, found) for text, found in wrong if found] == []


@pytest.mark.parametrize("language", ALL_LANGUAGES)
def test_a_plural_text_has_a_form_of_its_own_for_one(language):
    same = SAME_FOR_ALL.get(language, set())
    for text in PLURALS:
        forms = forms_of(text, language)
        if not same & set(_AFTER_NUMBER.findall(forms[5])):
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
    assert wrong_in(said, n, ENGLISH, *lexicon(ENGLISH))


@pytest.mark.parametrize(
    ("language", "forms", "n"),
    [
        ("de", {0: "{n} Antworten", 1: "{n} Antwort", 2: "{n} Antworten", 5: "{n} Antworten"}, 1),
        ("fr", {0: "{n} réponse", 1: "{n} réponse", 2: "{n} réponses", 5: "{n} réponses"}, 0),
    ],
)
def test_control_a_text_without_forms_is_found_by_the_nouns_of_the_others(language, forms, n):
    singulars, plurals = nouns_of([forms], language)

    assert (singulars, plurals) == ({forms[1][4:]}, {forms[5][4:]})
    assert wrong_in(forms[5].format(n=n), n, language, singulars, plurals)
    assert not wrong_in(forms[n].format(n=n), n, language, singulars, plurals)
