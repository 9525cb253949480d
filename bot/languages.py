"""Translates the bot's own texts into the language of the reader.

English texts are in the code; translations are in ``bot/locales/<language>.po``, gettext's format.
:func:`mark` marks a text for extraction, :func:`tr` and :func:`trn` translate it. The language is a context
variable that is set once where an interaction or a message arrives, so no function has to pass it on. What
the language *model* writes is not translated.

The language is that of the member's Discord client, which Discord sends with each command and click. A
message does not carry it, so the latest one is kept per member, in memory only; without it, the language of
the server is used, else English.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, reduce
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
    discord.Locale.italian: "it",
    discord.Locale.polish: "pl",
    discord.Locale.chinese: "zh_CN",
    discord.Locale.japanese: "ja",
    discord.Locale.korean: "ko",
}
"""Discord's languages that have a catalogue; all others read English.

Traditional Chinese (``zh-TW``) reads English: its characters and many of its words differ from those of the
catalogue in Simplified Chinese, so it needs a catalogue of its own.
"""

DECIMAL_COMMA = frozenset({"de", "es", "fr", "it", "pl", "pt_BR"})
"""Languages that write a comma before decimals. babel would load 10 MB of locale data for it."""

_MOST_REMEMBERED = 10_000

_language: ContextVar[str] = ContextVar("language", default=ENGLISH)


def mark(text: str) -> str:
    """Return ``text`` unchanged; marks it for extraction, to be translated later by :func:`tr`."""
    return text


NEXT_IN_LIST = mark("{before}, {next}")
NEXT_SENTENCE = mark("{before} {next}")
"""Patterns for two neighbours in a list, and for two sentences."""


def tr(text: str, **values: Any) -> str:
    """Translate ``text`` into the current language and fill in its ``{names}``."""
    said = _catalogue(_language.get()).gettext(text) if text else text
    return said.format(**_localised(values)) if values else said


def tr_in(language: str, text: str) -> str:
    """Translate ``text`` into a language given by its two letters; English if it has no catalogue."""
    names = (name for name in LANGUAGES.values() if name.split("_")[0] == language)
    return _catalogue(next(names, ENGLISH)).gettext(text)


def trn(one: str, many: str, n: int, **values: Any) -> str:
    """Translate the plural form for ``n`` by the rules of the language; both texts may contain ``{n}``."""
    return _catalogue(_language.get()).ngettext(one, many, n).format(n=n, **_localised(values))


def list_of(parts: Iterable[str]) -> str:
    """Join the parts of a list in one line, as the current language does."""
    return _chain(NEXT_IN_LIST, parts)


def sentences_of(*parts: str) -> str:
    """Join whole sentences in one line; Chinese and Japanese put no space between them."""
    return _chain(NEXT_SENTENCE, parts)


def current_language() -> str:
    """Return the language of the current task, as its catalogue is named."""
    return _language.get()


def everywhere(texts: Sequence[str], languages: Iterable[str] = LANGUAGES.values()) -> frozenset[str]:
    """Return ``texts`` in English and in each of these languages."""
    catalogues = [_catalogue(language) for language in (ENGLISH, *languages)]
    return frozenset(catalogue.gettext(text) for catalogue in catalogues for text in texts)


def speak(locale: discord.Locale | None) -> None:
    """Set the language of the current task."""
    _language.set(_language_of(locale))


@contextmanager
def speaking(locale: discord.Locale | None) -> Iterator[None]:
    """Set the language while the body runs."""
    token = _language.set(_language_of(locale))
    try:
        yield
    finally:
        _language.reset(token)


class Tongues:
    """LRU cache of members' languages, as their Discord clients sent them; in memory only."""

    def __init__(self) -> None:
        self._known: LRUCache[int, discord.Locale] = LRUCache(_MOST_REMEMBERED)

    def hear(self, interaction: discord.Interaction[Any]) -> None:
        """Cache the language of the member who used a command or a button, and set it for this task."""
        self._known[interaction.user.id] = interaction.locale
        speak(interaction.locale)

    def of(self, message: discord.Message) -> discord.Locale | None:
        """Return the language to answer a message in."""
        return self.of_member(message.author.id, message.guild)

    def of_member(self, user_id: int, guild: discord.Guild | None) -> discord.Locale | None:
        """Return the language to write to a member in, in a server or in direct messages."""
        return self._known.get(user_id) or (guild.preferred_locale if guild else None)

    def forget(self, leaving: Leaving) -> None:
        """Drop the language of a person who leaves every server."""
        if leaving.everyone:
            self._known.clear()
        elif leaving.person is not None:
            self._known.pop(leaving.person, None)


class CommandTranslator(app_commands.Translator):
    """Sends descriptions of commands to Discord in every language; names stay as the docs have them."""

    async def translate(
        self,
        string: app_commands.locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """Translate a description or the title of a message menu; None keeps the English text."""
        places = app_commands.TranslationContextLocation
        is_menu = isinstance(context.data, app_commands.ContextMenu)
        is_name = context.location in (places.command_name, places.group_name, places.parameter_name)
        if locale not in LANGUAGES or (is_name and not is_menu):
            return None
        said = _catalogue(LANGUAGES[locale]).gettext(string.message)
        return None if said == string.message else said


class _Figure(float):
    """Number whose decimal sign is that of the current language, in any format."""

    def __format__(self, spec: str) -> str:
        return super().__format__(spec).replace(".", "," if _language.get() in DECIMAL_COMMA else ".")


def _localised(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _Figure(value) if isinstance(value, float) else value for name, value in values.items()}


def _chain(pattern: str, parts: Iterable[str]) -> str:
    said = [part for part in parts if part]
    return reduce(lambda before, following: tr(pattern, before=before, next=following), said) if said else ""


def _language_of(locale: discord.Locale | None) -> str:
    return ENGLISH if locale is None else LANGUAGES.get(locale, ENGLISH)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    """Load the catalogue of one language; English texts are those of the code."""
    if language == ENGLISH:
        return gettext.NullTranslations()
    with (LOCALES / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
