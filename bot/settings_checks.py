"""Checks of settings that concern several keys at once. :mod:`bot.config` reports what they find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

from bot.settings import GeneratorSettings, WriterSettings
from storage.records import FAQ_STYLE

JOINED = " + "
"""Joins the name of a style and those of learnt wishes, so no name of a style may hold it."""
_SET_BY_BOT = {"model", "messages", "stream", "n"}


def mistakes_in_generator(settings: GeneratorSettings) -> Iterator[str]:
    """Yield what is wrong in section ``[generator]``: the key, what was expected, and what was found."""
    if settings.models and settings.kind != "openai":
        yield 'models needs kind = "openai"; with kind = "local" only the model in [generator] model runs'
    yield from _mistakes_in_body(settings.extra_body, "extra_body")
    if any(style.name == FAQ_STYLE for style in settings.styles):
        yield f"styles: the name {FAQ_STYLE!r} is reserved for answers from /faq; choose another"
    for name in sorted({style.name for style in settings.styles if JOINED in style.name}):
        yield f"styles: expected a name without {JOINED!r}, found {name!r}"
    for name in [name for name, n in Counter(style.name for style in settings.styles).items() if n > 1]:
        yield f"styles: expected different names, found {name!r} twice"
    if not is_address(settings.base_url):
        yield f"base_url: expected http:// or https:// and a host, found {settings.base_url!r}"
    if settings.writers:
        yield from _mistakes_in_writers(settings)


def is_address(url: str) -> bool:
    """Return whether this is an address of a server."""
    if not url.isprintable() or " " in url:  # urlsplit removes line ends without a word
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _mistakes_in_writers(settings: GeneratorSettings) -> Iterator[str]:
    if settings.models:
        yield "writers and models exclude each other: the models of writers are not chosen by managers"
    twice = [name for name, n in Counter(one.called for one in settings.writers).items() if n > 1]
    for name in twice:
        yield f"writers: expected different names, found {name!r} twice; give each a name"
    styles = {style.name for style in settings.styles}
    for place, one in enumerate(settings.writers):
        for mistake in _mistakes_in_writer(one, styles):
            yield f"writers.{place}.{mistake}"
    written = {style for one in settings.writers for style in one.styles or styles}
    if missing := sorted(styles - written):
        yield f"writers: expected a writer for each style, found none for {', '.join(missing)}"


def _mistakes_in_writer(one: WriterSettings, styles: set[str]) -> Iterator[str]:
    if not one.called.isprintable() or one.called != one.called.strip():
        yield f"name: expected one line without blanks around it, found {one.called!r}"
    if one.base_url and not is_address(one.base_url):
        yield f"base_url: expected http:// or https:// and a host, found {one.base_url!r}"
    if 0 < one.context_tokens < 128:
        yield f"context_tokens: expected 0 or a number from 128 on, found {one.context_tokens}"
    if unknown := sorted(set(one.styles) - styles):
        yield f"styles: expected names of [generator] styles, found {', '.join(unknown)}"
    yield from _mistakes_in_body(one.extra_body, "extra_body")


def _mistakes_in_body(body: dict[str, object], key: str) -> Iterator[str]:
    if taken := sorted(_SET_BY_BOT & body.keys()):
        yield (
            f"{key}: expected parameters that the bot does not set itself, found {', '.join(taken)}; leave"
            " them out"
        )
