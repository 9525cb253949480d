"""What the bot says on its own account, in the language of whoever reads it.

English stands in the code; the other languages in ``bot/locales/<language>.po``, gettext's own format, which
every translation tool reads. :func:`mark` shows a text to the extraction, :func:`tr` and :func:`trn` say it.
The language is a context variable, set once where an interaction or a message comes in, so that no function
between there and the text has to pass it on. What the language *model* writes is not touched.

Which language: that of the member's Discord client, which comes with each command and click. A message does
not tell it, so it is remembered per member, in memory only; else the language of the server, else English.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import discord
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from cachetools import LRUCache
from discord import app_commands

from bot.memory import Leaving

LOCALES = Path(__file__).parent / "locales"
ENGLISH = "en"
LANGUAGES: dict[discord.Locale, str] = {
    discord.Locale.german: "de",
    discord.Locale.spain_spanish: "es",
    discord.Locale.latin_american_spanish: "es",
    discord.Locale.french: "fr",
    discord.Locale.brazil_portuguese: "pt_BR",
}
"""Discord's languages that there is a catalogue for; the others read English."""

_MOST_REMEMBERED = 10_000

_language: ContextVar[str] = ContextVar("language", default=ENGLISH)


def mark(text: str) -> str:
    """Return ``text`` as it is; tells the extraction that it is said later, by :func:`tr`."""
    return text


def tr(text: str, **values: Any) -> str:
    """Say ``text`` in the language of whoever reads it, its ``{names}`` filled in."""
    said = _catalogue(_language.get()).gettext(text) if text else text
    return said.format(**values) if values else said


def trn(one: str, many: str, n: int, **values: Any) -> str:
    """Say ``one`` or ``many`` according to ``n``, by the rules of the language; both may name ``{n}``."""
    return _catalogue(_language.get()).ngettext(one, many, n).format(n=n, **values)


def everywhere(texts: Sequence[str]) -> frozenset[str]:
    """``texts`` in every language, English included."""
    catalogues = [_catalogue(language) for language in (ENGLISH, *LANGUAGES.values())]
    return frozenset(catalogue.gettext(text) for catalogue in catalogues for text in texts)


def speak(locale: discord.Locale | None) -> None:
    """Speak this language from now on, in this task."""
    _language.set(_language_of(locale))


@contextmanager
def speaking(locale: discord.Locale | None) -> Iterator[None]:
    """Speak this language in the body."""
    token = _language.set(_language_of(locale))
    try:
        yield
    finally:
        _language.reset(token)


class Tongues:
    """The language of members, as their clients told it; in memory only, the latest ones."""

    def __init__(self) -> None:
        self._known: LRUCache[int, discord.Locale] = LRUCache(_MOST_REMEMBERED)

    def hear(self, interaction: discord.Interaction[Any]) -> None:
        """Note the language of whoever used a command or a button, and speak it in this task."""
        self._known[interaction.user.id] = interaction.locale
        speak(interaction.locale)

    def of(self, message: discord.Message) -> discord.Locale | None:
        """The language to answer a message in."""
        known = self._known.get(message.author.id)
        return known or (message.guild.preferred_locale if message.guild else None)

    def forget(self, leaving: Leaving) -> None:
        """Drop the language of a person who leaves every server."""
        if leaving.everyone:
            self._known.clear()
        elif leaving.person is not None:
            self._known.pop(leaving.person, None)


class CommandTranslator(app_commands.Translator):
    """Tells Discord the descriptions of commands in every language; their names stay, as docs name them."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """Look a description, or the title in a message menu, up; None leaves the English one."""
        places = app_commands.TranslationContextLocation
        is_menu = isinstance(context.data, app_commands.ContextMenu)
        is_name = context.location in (places.command_name, places.group_name, places.parameter_name)
        if locale not in LANGUAGES or (is_name and not is_menu):
            return None
        said = _catalogue(LANGUAGES[locale]).gettext(string.message)
        return None if said == string.message else said


def _language_of(locale: discord.Locale | None) -> str:
    return ENGLISH if locale is None else LANGUAGES.get(locale, ENGLISH)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    """The texts of one language; English is what stands in the code."""
    if language == ENGLISH:
        return gettext.NullTranslations()
    with (LOCALES / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
