"""Settings that depend on several keys: mistakes in ``[generator]``, and the shards of a process.

:mod:`bot.config` reports what is found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from bot.settings import SPARE, BotSettings, GeneratorSettings, WriterSettings
from personalization.plugins import plugin_in
from storage.records import FAQ_STYLE, MOST_SHARDS

JOINED = " + "
"""Joins the name of a style and those of learnt wishes, so no name of a style may hold it."""
_KINDS = 'expected "local", "openai" or "plugin:NAME"'
_SET_BY_BOT = {"model", "messages", "stream", "n"}


def mistakes_in_generator(settings: GeneratorSettings) -> Iterator[str]:
    """Yield what is wrong in section ``[generator]``: the key, what was expected, and what was found."""
    if not _is_kind(settings.kind):
        yield f"kind: {_KINDS}, found {settings.kind!r}"
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


def mistakes_in_plugins(settings: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield what is wrong in settings that name plug-ins alone.

    Args:
        settings: Each key with its values; an empty value names none.
    """
    for key, values in settings.items():
        for value in values:
            if value and not plugin_in(value):
                yield f'{key}: expected "plugin:NAME", found {value!r}'


def _is_kind(kind: str) -> bool:
    return kind in ("local", "openai") or bool(plugin_in(kind))


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
    if one.kind and not _is_kind(one.kind):
        yield f"kind: {_KINDS}, found {one.kind!r}"
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


SHARD_COUNT, SHARD_IDS = "SIMPATICO_SHARD_COUNT", "SIMPATICO_SHARD_IDS"
"""Variables of the environment that override the keys, for orchestrators that number processes."""


def with_shards(settings: BotSettings, environ: Mapping[str, str]) -> BotSettings:
    """Return the settings with the shards that the environment names, checked.

    ``SIMPATICO_SHARD_IDS`` is a list (``0,1,4-7``), a part (``2/8``: the third of eight processes), or
    ``spare``.

    Raises:
        ValueError: The shards cannot be used; the message names the key.
    """
    count, ids = settings.shard_count, settings.shard_ids
    if given := environ.get(SHARD_COUNT, "").strip():
        if not (given.isascii() and given.isdigit() and int(given) <= MOST_SHARDS):
            raise ValueError(f"{SHARD_COUNT}: expected a number from 0 to {MOST_SHARDS}, found {given!r}")
        count = int(given)
    if given := environ.get(SHARD_IDS, "").strip():
        ids = SPARE if given == SPARE else _shard_ids(given, count)
    if ids and not count:
        raise ValueError("[bot] shard_ids: expected a shard_count beside it, the same in every process")
    if ids == SPARE:
        return replace(settings, shard_count=count, shard_ids=SPARE)
    if len(set(ids)) != len(ids) or not all(0 <= one < count for one in ids):
        raise ValueError(f"[bot] shard_ids: expected different numbers from 0 to {count - 1}, found {ids}")
    return replace(settings, shard_count=count, shard_ids=ids)


def _shard_ids(given: str, count: int) -> tuple[int, ...]:
    """Return the shards of a list or a part.

    Raises:
        ValueError: It is neither.
    """
    numbers = [int(number) for number in re.findall(r"[0-9]{1,5}", given)]
    if re.fullmatch(r"[0-9]{1,5}/[0-9]{1,5}", given) and numbers[0] < numbers[1] <= count:
        return tuple(range(numbers[0], count, numbers[1]))
    if not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?(,[0-9]{1,5}(-[0-9]{1,5})?)*", given):
        raise ValueError(
            f"{SHARD_IDS}: expected numbers such as 0,1,4-7, a part such as 2/8 (the third of eight"
            f" processes, at most as many as shards), or {SPARE}, found {given!r}"
        )
    spans = ([int(end) for end in part.split("-")] for part in given.split(","))
    return tuple(one for span in spans for one in range(span[0], span[-1] + 1))
