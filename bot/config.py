"""``config.toml`` -> frozen, validated settings; the only place that reads the file and the environment.

The settings classes live with the packages they configure (``bot.settings``, ``personalization.settings``,
``storage.settings``); this module puts them together and turns every mistake into one line that names the
key. Secrets never stand in the file: a key that ends in ``_env`` names the environment variable that holds
one.

Errors::

    ConfigError      a key is unknown, has the wrong type or is out of range, or a secret is missing
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import load_dotenv
from pydantic import TypeAdapter, ValidationError

from bot.settings import (
    BotSettings,
    FaqSettings,
    GeneratorSettings,
    LimitSettings,
    OperatorSettings,
    SafetySettings,
)
from personalization.settings import LearningSettings
from storage.records import FAQ_STYLE
from storage.settings import StorageSettings


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be configured; one attribute per section of ``config.toml``."""

    bot: BotSettings = field(default_factory=BotSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    faq: FaqSettings = field(default_factory=FaqSettings)
    personalization: LearningSettings = field(default_factory=LearningSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    operator: OperatorSettings = field(default_factory=OperatorSettings)


_ADAPTER = TypeAdapter(Settings)


def config_path(given: Path | None) -> Path | None:
    """Return the configuration file: the given one, else ``config.toml`` in the working folder, else None."""
    default = Path("config.toml")
    return given if given is not None else default if default.exists() else None


def load_settings(path: Path | None) -> Settings:
    """Read ``path``, or the defaults when it is None, and load ``.env`` beside the working folder.

    Args:
        path: A ``config.toml``; relative folders in it are taken relative to the file.

    Raises:
        ConfigError: The file is missing, is no TOML, or holds an unusable key.
    """
    try:
        load_dotenv(Path(".env"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f".env: cannot be read: {exc}") from exc
    if path is None:
        return Settings()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(
            f"{path}: no such file; copy config.example.toml there or leave --config out"
        ) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: not valid TOML: {exc}") from exc
    return _relative_to(path.parent, parse_settings(raw, source=str(path)))


def parse_settings(raw: Mapping[str, Any], *, source: str = "config") -> Settings:
    """Validate a parsed TOML document.

    Raises:
        ConfigError: With one line per mistake, each naming section, key, what was expected and what was
            found.
    """
    try:
        # Through JSON, because only there does strict mode take a list for a tuple and a string for a path
        # while it still refuses "7" for a number and 1 for a switch.
        settings = _ADAPTER.validate_json(json.dumps(raw, default=str), strict=True, extra="forbid")
    except ValidationError as exc:
        raise ConfigError("\n".join(f"{source}: {line}" for line in mistakes_in(exc))) from exc
    if settings.bot.chat_channels and not settings.bot.message_content:
        raise ConfigError(
            f"{source}: [bot] chat_channels needs message_content = true, and the message-content intent"
            " switched on in the Discord developer portal"
        )
    if settings.generator.models and settings.generator.kind != "openai":
        raise ConfigError(
            f'{source}: [generator] models needs kind = "openai": in this process one model runs, the one'
            " that model names"
        )
    if any(style.name == FAQ_STYLE for style in settings.generator.styles):
        raise ConfigError(
            f"{source}: [generator] styles: answers from /faq have the name {FAQ_STYLE!r}; choose another"
        )
    if not _is_address(settings.generator.base_url):
        found = settings.generator.base_url
        raise ConfigError(
            f"{source}: [generator] base_url: expected http:// or https:// and a host, found {found!r}"
        )
    return settings


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def read_secret(env_name: str) -> str | None:
    """Return the secret that the environment variable holds, or None when it is unset or blank."""
    return os.environ.get(env_name, "").strip() or None


def mistakes_in(exc: ValidationError) -> list[str]:
    """One line for each mistake that a validation found."""
    return [_explain(error) for error in exc.errors()]


def _explain(error: Any) -> str:
    """One line for one mistake: ``[section] key: what was expected, found what``."""
    section, *keys = (str(part) for part in error["loc"])
    key = ".".join(keys)
    where = f"[{section}] {key}" if key else f"[{section}]"
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"{where}: unknown key; config.example.toml lists the known ones"
    found = repr(error["input"])
    found = found if len(found) <= 60 else found[:57] + "..."
    return f"{where}: {error['msg'][0].lower()}{error['msg'][1:]}, found {found}"


def _relative_to(folder: Path, settings: Settings) -> Settings:
    """Take the relative folders of the settings relative to the configuration file."""
    return replace(
        settings,
        operator=replace(
            settings.operator,
            curves_dir=str(folder / settings.operator.curves_dir) if settings.operator.curves_dir else "",
        ),
        generator=replace(settings.generator, model_dir=folder / settings.generator.model_dir),
        storage=replace(
            settings.storage,
            data_dir=folder / settings.storage.data_dir,
            key_dir=folder / settings.storage.key_dir,
        ),
    )
