"""Reads ``config.toml`` and the environment into frozen, validated settings. No other module reads them.

The settings classes live with the packages they configure (``bot.settings``, ``personalization.settings``,
``storage.settings``). This module combines them and reports each mistake in one line that names the key.
Secrets are never in the file: a key that ends in ``_env`` names the environment variable with the secret.

Errors::

    ConfigError      a key is unknown, has the wrong type or is out of range, or a secret is missing
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from dotenv import load_dotenv
from pydantic import TypeAdapter, ValidationError

from bot.catalogue import MODEL_VARIABLE, encoder, language_model
from bot.proxies import DIRECT, Proxy, ProxyUnusable, parse_proxy, proxy_to_discord, spare_this_machine
from bot.settings import (
    SPARE,
    BotSettings,
    DistressSettings,
    FaqSettings,
    GeneratorSettings,
    LimitSettings,
    OperatorSettings,
    SafetySettings,
)
from bot.settings_checks import mistakes_in_generator, mistakes_in_plugins, with_shards
from personalization.settings import LearningSettings
from storage.settings import StorageSettings, with_old_key_dir
from storage.wording import character_in_words, did_you_mean


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings; one attribute per section of ``config.toml``."""

    bot: BotSettings = field(default_factory=BotSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    distress: DistressSettings = field(default_factory=DistressSettings)
    faq: FaqSettings = field(default_factory=FaqSettings)
    personalization: LearningSettings = field(default_factory=LearningSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    operator: OperatorSettings = field(default_factory=OperatorSettings)


_ADAPTER = TypeAdapter(Settings)


def config_path(given: Path | None) -> Path | None:
    """Return the configuration file: the given one, else ``config.toml`` in the working folder, else None."""
    default = Path("config.toml")
    return given if given is not None else default if os.path.lexists(default) else None


def load_settings(path: Path | None) -> Settings:
    """Load ``.env`` of the working folder into the environment, then read the settings.

    ``SIMPATICO_MODEL`` of the environment overrides ``[generator] model`` with another local model;
    ``SIMPATICO_SHARD_COUNT`` and ``SIMPATICO_SHARD_IDS`` override ``[bot] shard_count`` and ``shard_ids``.

    Args:
        path: A ``config.toml``; relative folders in it are relative to the file. None: all defaults.

    Raises:
        ConfigError: The file is missing, is no TOML, or holds an unusable key.
    """
    _load_env(Path(".env"))
    spare_this_machine()
    if path is None:
        return _relative_to(Path(), _from_environment(Settings()))
    try:
        _check_regular(path)
        # Editors on Windows write a byte order mark.
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path}: no such file; copy config.example.toml there or leave --config out"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: cannot be read: expected UTF-8; save it as UTF-8") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror})") from exc
    except (ValueError, RecursionError) as exc:  # no TOML, a number of 5,000 digits, or 1,000 brackets
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc
    return _relative_to(path.parent, _from_environment(parse_settings(raw, source=str(path))))


def _from_environment(settings: Settings) -> Settings:
    """Return the settings with the model and the shards that the environment names.

    Raises:
        ConfigError: The shards cannot be used.
    """
    try:
        bot = with_shards(settings.bot, os.environ)
    except ValueError as exc:
        raise ConfigError(str(exc)) from None
    if bot.shard_ids == SPARE and not settings.storage.url:
        raise ConfigError(
            f'[bot] shard_ids: "{SPARE}" needs PostgreSQL, which the other processes share; set [storage] url'
        )
    return _with_chosen_model(replace(settings, bot=bot))


def _with_chosen_model(settings: Settings, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings with the local model that the environment or ``--model`` chose, if any.

    A size or another spelling becomes the name of the catalogue, and a listed encoder its Hugging Face id.
    """
    generator, learning = settings.generator, settings.personalization
    if model := environ.get(MODEL_VARIABLE, "").strip():
        generator = replace(generator, kind="local", model=model, models=(), writers=())
    if generator.kind == "local" and (listed := language_model(generator.model)) is not None:
        generator = replace(generator, model=listed.name)
    if (found := encoder(learning.encoder)) is not None:
        learning = replace(learning, encoder=found.folder.repo)
    return replace(settings, generator=generator, personalization=learning)


def _load_env(path: Path) -> None:
    """Load a file of variables into the environment, if there is one.

    Raises:
        ConfigError: It cannot be read.
    """
    if not os.path.lexists(path):
        return
    try:
        _check_regular(path)
        load_dotenv(path, encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: expected text in UTF-8, found something else; save it as UTF-8") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read ({exc.strerror})") from exc
    except ValueError as exc:  # a NUL character, which no environment variable can hold
        raise ConfigError(
            f"{path}: expected plain lines NAME=value, found a NUL character; write it anew"
        ) from exc


def _check_regular(path: Path) -> None:
    """Check that a file is there and is no folder, pipe or device: a pipe would block, and cannot be watched.

    Raises:
        ConfigError: It is something else. Docker makes a folder where it was to mount a missing file.
        OSError: It is not there, or cannot be looked at.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "folder" if stat.S_ISDIR(mode) else "pipe or device"
        raise ConfigError(f"{path}: expected a file, found a {kind}; put the file there")


def parse_settings(raw: Mapping[str, Any], *, source: str = "config") -> Settings:
    """Validate a parsed TOML document.

    Raises:
        ConfigError: With one line per mistake, each naming section, key, what was expected and what was
            found.
    """
    try:
        # Validated as JSON: only there does strict mode accept a list for a tuple and a string for a path,
        # while it still refuses "7" for a number and 1 for a boolean.
        settings = _ADAPTER.validate_json(json.dumps(raw, default=str), strict=True, extra="forbid")
    except ValidationError as exc:
        raise ConfigError("\n".join(f"{source}: {line}" for line in mistakes_in(exc))) from exc
    if settings.bot.chat_channels and not settings.bot.message_content:
        raise ConfigError(
            f"{source}: [bot] chat_channels needs message_content = true, and the message-content intent"
            " switched on in the Discord developer portal"
        )
    if mistakes := list(mistakes_in_generator(settings.generator)):
        raise ConfigError("\n".join(f"{source}: [generator] {mistake}" for mistake in mistakes))
    named = {
        "[safety] filters": settings.safety.filters,
        "[personalization] label_source": (settings.personalization.label_source,),
    }
    if mistakes := list(mistakes_in_plugins(named)):
        raise ConfigError("\n".join(f"{source}: {mistake}" for mistake in mistakes))
    _check_proxy(settings.bot.proxy, source)
    return settings


def _check_proxy(address: str, source: str) -> None:
    """Check the proxy of the file, which may hold no password."""
    if address in ("", DIRECT):
        return
    try:
        proxy = parse_proxy(address)
    except ProxyUnusable as exc:
        raise ConfigError(f'{source}: [bot] proxy: {exc}; "{DIRECT}" uses no proxy') from None
    if proxy.has_user:
        raise ConfigError(
            f"{source}: [bot] proxy: expected no user and no password in this file; leave it empty and set"
            " HTTPS_PROXY, in the environment or in .env"
        )


def discord_proxy(settings: BotSettings) -> Proxy | None:
    """Return the proxy between the bot and Discord, by the file or the environment; None: there is none.

    Raises:
        ConfigError: The environment names a proxy that cannot be used; the message shows no password.
    """
    try:
        return proxy_to_discord(settings.proxy)
    except ProxyUnusable as exc:
        raise ConfigError(str(exc)) from None


def read_secret(env_name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the secret that the environment variable holds, or None when it is unset or blank.

    White space around it is removed, and so is one pair of quotes, which some tools keep.

    Raises:
        ConfigError: A character in it cannot be part of a token or key; the message never shows the secret.
    """
    secret = environ.get(env_name, "").strip()
    if len(secret) > 1 and secret[0] == secret[-1] and secret[0] in "\"'":
        secret = secret[1:-1].strip()
    if wrong := sorted({character_in_words(char) for char in secret if not "!" <= char <= "~"}):
        raise ConfigError(
            f"The environment variable {env_name} holds {', '.join(wrong)} inside: expected letters, digits"
            " and ASCII signs in one line; copy the value again"
        )
    return secret or None


def mistakes_in(exc: ValidationError) -> list[str]:
    """Return one line for each validation error."""
    errors = exc.errors()
    # A list whose items are wrong is also reported as empty.
    around = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    return [_explain(error) for error in errors if error["type"] != "too_short" or error["loc"] not in around]


def _explain(error: Any) -> str:
    """Return one line: ``[section] key: what was expected, found what``."""
    section, *keys = (str(part) for part in error["loc"])
    key = ".".join(keys)
    where = f"[{section}] {key}" if key else f"[{section}]"
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: unknown key{_advice(error['loc'])}; config.example.toml lists the known ones"
    found = repr(error["input"])
    found = found if len(found) <= 60 else found[:57] + "..."
    return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}, found {found}"


def _advice(loc: Sequence[int | str]) -> str:
    """Return which known key an unknown one is close to, or in which section it belongs; else empty."""
    *path, key = map(str, loc)
    if close := did_you_mean(key, _keys_at(path)):
        return close
    sections = [name for name in _keys_at([]) if key in _keys_at([name])]
    return f"; did you mean [{sections[0]}] {key}?" if len(sections) == 1 else ""


def _keys_at(path: Sequence[str]) -> list[str]:
    """Return the known keys of a section, or of a table inside one."""
    kind: Any = Settings
    for key in path:
        hints = get_type_hints(kind)
        kind = _table_in(hints[key]) if key in hints else kind  # a place in a list has no name
        if kind is None:
            return []
    return [one.name for one in fields(kind)]


def _table_in(annotation: Any) -> Any:
    """Return the dataclass that an annotation names, as in ``tuple[Style, ...]``; None: none."""
    if is_dataclass(annotation):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _table_in(inner))), None)


def _relative_to(folder: Path, settings: Settings) -> Settings:
    """Resolve relative folders against the folder of the configuration file, and ``~`` to a home folder.

    Raises:
        ConfigError: ``~name`` names no user of this machine.
    """

    def at(section: Any, *keys: str, relative: bool = True) -> Any:
        changed: dict[str, Any] = {}
        for key in keys:
            found = getattr(section, key)
            if "\0" in str(found):
                raise ConfigError(f"{key}: expected a path, found a NUL character inside")
            try:
                os.fsencode(found)
            except UnicodeEncodeError as exc:
                raise ConfigError(
                    f"{key}: this system's locale ({exc.encoding}) cannot write such a path; set PYTHONUTF8=1"
                ) from exc
            try:
                path = Path(found).expanduser() if str(found).startswith("~") else Path(found)
            except RuntimeError as exc:
                raise ConfigError(f"{key}: expected a folder, found {str(found)!r}: no such user") from exc
            if isinstance(found, Path):
                changed[key] = folder / path
            elif found and (relative or str(path) != found):
                changed[key] = str(folder / path)
        return replace(section, **changed)

    writers = tuple(at(one, "model", relative=False) for one in settings.generator.writers)
    generator = replace(settings.generator, writers=writers)
    return replace(
        settings,
        operator=at(settings.operator, "curves_dir"),
        generator=at(at(generator, "model_dir"), "model", relative=False),
        personalization=at(settings.personalization, "encoder", relative=False),
        safety=at(settings.safety, "toxicity_model", relative=False),
        storage=at(with_old_key_dir(settings.storage, folder), "data_dir", "key_dir"),
    )
