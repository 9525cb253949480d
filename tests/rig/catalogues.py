"""``make translations``: updates the translation catalogues from the texts in the code.

Extracts the arguments of ``mark``, ``tr`` and ``trn`` in ``bot/`` and rewrites each catalogue: a new text
gets an empty translation, a text no longer in the code is removed. ``tests/conformance/test_translations.py``
fails as long as a translation is missing.
"""

from __future__ import annotations

from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from bot.languages import LANGUAGES, LOCALES

BOT = Path(__file__).parents[2] / "bot"
KEYWORDS = {"mark": None, "tr": None, "trn": (1, 2)}
HEADER = """\
msgid ""
msgstr ""
"Language: {language}\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: {plurals}\\n"

"""
"""Header without dates and names, so that a catalogue changes only where its texts change."""


def template() -> Catalog:
    """Extract every text in the code, without translations."""
    catalogue = Catalog()
    for _, _, text, _, _ in extract_from_dir(BOT, keywords=KEYWORDS):
        catalogue.add(text)
    return catalogue


def catalogue_of(language: str) -> Catalog:
    """Read the catalogue of one language; an empty one if the file does not exist."""
    path = LOCALES / f"{language}.po"
    if not path.exists():
        return Catalog(locale=language)
    with path.open("rb") as file:
        return read_po(file, locale=language)


def main() -> None:
    """Update every catalogue in place."""
    found = template()
    for language in sorted(set(LANGUAGES.values())):
        catalogue = catalogue_of(language)
        catalogue.update(found, no_fuzzy_matching=True)
        fresh = Catalog(locale=language)
        for message in catalogue:
            if message.id:
                fresh.add(message.id, message.string)
        with (LOCALES / f"{language}.po").open("wb") as file:
            file.write(HEADER.format(language=language, plurals=fresh.plural_forms).encode())
            write_po(file, fresh, width=118, sort_output=True, omit_header=True)
        missing = sum(not any(_said(message.string)) for message in fresh if message.id)
        print(f"{language}: {len(fresh)} texts, {missing} not translated")


def _said(string: str | tuple[str, ...]) -> tuple[str, ...]:
    return string if isinstance(string, tuple) else (string,)


if __name__ == "__main__":
    main()
