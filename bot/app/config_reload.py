"""Reloads a changed ``config.toml`` while the bot runs: on SIGHUP, and when the file changes.

Keys that can change apply from the next message on. The others (a model, a folder, an intent) keep their
value until the next start and are named in one line of the log. A file with a mistake changes nothing. The
log names keys, never values.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from bot.app.composition import House, secrets_of
from bot.config import ConfigError, Settings, load_settings
from bot.generators.packaged_model.manner import persona_of
from bot.settings import BotSettings
from bot.tasks import Tasks
from storage.maintenance.audit_trail import Act, AuditTrail
from storage.wording import counted

log = logging.getLogger(__name__)

AT_ONCE = {
    "bot": {"chat_channels", "seeded_reactions", "history_messages", "history_minutes", "allow", "deny"},
    "generator": {"persona", "styles"},
    "limits": {"member_messages", "member_tokens", "server_messages", "server_tokens", "roles"},
    "safety": {"level", "blocked_terms"},
    "distress": {"answer", "texts"},
    "faq": {"similarity", "most"},
    "personalization": {
        "policy",
        "exploration",
        "thompson_scale",
        "ucb_width",
        "relevance_weight",
        "personal_bound",
        "early_stop",
        "head_cache",
    },
}
"""Section -> the keys that can change while the bot runs."""

LOOK_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Reloaded:
    """Result of a reload; keys as ``[section] key``.

    Attributes:
        applied: Keys that changed at once.
        waiting: Keys that wait for a restart.
    """

    applied: tuple[str, ...]
    waiting: tuple[str, ...]


class Reloader:
    """Compares the configuration in use with the file, and applies the difference.

    Args:
        find: Returns the path of the file; None: no file, so all values are defaults.
        settings: The configuration in use.
        apply: Applies valid settings.
        audit: Where the names of changed keys are recorded; None: nowhere.
    """

    def __init__(
        self,
        find: Callable[[], Path | None],
        settings: Settings,
        apply: Callable[[Settings], None],
        *,
        audit: AuditTrail | None = None,
    ) -> None:
        self._find = find
        self._apply = apply
        self._audit = audit
        self._seen = self._stamp()
        self.settings = settings

    def reload(self) -> Reloaded | None:
        """Read the file and apply keys that can change; None when the file has a mistake."""
        self._seen = self._stamp()
        try:
            wanted = load_settings(self._find())
        except ConfigError as exc:
            mistakes = len(str(exc).splitlines())
            log.warning(
                "the changed configuration has %s and is not used; see simpatico doctor",
                counted(mistakes, "mistake"),
            )
            return None
        changed = _changed(self.settings, wanted)
        applied = [key for key in changed if self._can_change(*key)]
        waiting = tuple(_named(key) for key in changed if key not in applied)
        for section, key in applied:
            value = getattr(getattr(wanted, section), key)
            own = replace(getattr(self.settings, section), **{key: value})
            self.settings = replace(self.settings, **{section: own})
        if applied:
            self._apply(self.settings)
            if self._audit is not None:
                self._audit.note(Act.CONFIGURATION, keys=", ".join(_named(key) for key in applied))
        reloaded = Reloaded(tuple(_named(key) for key in applied), waiting)
        log.warning(
            "configuration read again; in use now: %s; waits for a restart: %s",
            ", ".join(reloaded.applied) or "nothing new",
            ", ".join(reloaded.waiting) or "nothing",
        )
        return reloaded

    def look(self) -> Reloaded | None:
        """Reload if the file changed since the last look."""
        return self.reload() if self._stamp() != self._seen else None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Reload on every SIGHUP, and check the file every :data:`LOOK_EVERY_S` seconds."""
        loop = asyncio.get_running_loop()
        async with Tasks() as tasks:
            tasks.spawn(self._look_again(), name="reloading")
            with contextlib.suppress(NotImplementedError, AttributeError):  # Windows has no SIGHUP
                loop.add_signal_handler(signal.SIGHUP, self.reload)
            try:
                yield
            finally:
                with contextlib.suppress(NotImplementedError, AttributeError):
                    loop.remove_signal_handler(signal.SIGHUP)
                    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the default would kill a bot that stops

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self.look()

    def _can_change(self, section: str, key: str) -> bool:
        if key == "chat_channels" and not self.settings.bot.message_content:
            return False  # without the intent the bot would answer messages that it cannot read
        return key in AT_ONCE.get(section, ())

    def _stamp(self) -> tuple[str, int, int, int] | None:
        path = self._find()
        try:
            found = path.stat() if path is not None else None
        except OSError:
            found = None
        return None if found is None else (str(path), found.st_mtime_ns, found.st_size, found.st_ino)


class Client(Protocol):
    """The part of the client that a reload changes."""

    def use_settings(self, settings: BotSettings) -> None:
        """Use other settings from the next message on."""
        ...


def put_into_use(settings: Settings, house: House, bot: Client) -> None:
    """Apply ``settings`` to every part, as far as a running part can change."""
    bot.use_settings(settings.bot)
    house.parts.servers.use_settings(settings)
    house.ranker.use_settings(settings.personalization)
    house.parts.responder.early.use_settings(settings.personalization)
    house.generator.use_persona(persona_of(settings.generator))
    house.parts.responder.use_styles(settings.generator.styles, secrets_of(settings.generator))
    house.parts.responder.source.use_settings(settings.safety, settings.faq)
    house.parts.responder.help.use_settings(settings.distress)


def _changed(before: Settings, after: Settings) -> list[tuple[str, str]]:
    return [
        (section.name, key.name)
        for section in fields(Settings)
        for key in fields(_of(before, section.name))
        if getattr(_of(before, section.name), key.name) != getattr(_of(after, section.name), key.name)
    ]


def _of(settings: Settings, section: str) -> Any:
    return getattr(settings, section)


def _named(key: tuple[str, str]) -> str:
    return "[{}] {}".format(*key)
