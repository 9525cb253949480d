"""Settings of one server, set with ``/config``, on top of the configuration.

:class:`GuildSettings` holds the settings that managers of a server may change. It is validated like
``config.toml`` and stored sealed. :class:`Guilds` combines it with the configuration to a :class:`GuildView`.
Every message needs the view, so settings are cached until they change, in this or in another process.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len, MaxLen, Predicate
from cachetools import LRUCache
from pydantic import TypeAdapter, ValidationError

from bot.config import Settings
from bot.languages import mark, tr
from bot.memory import Leaving
from bot.servers.access import AnyList, GuildAccessList
from bot.settings import BotSettings, DailyLimit, LimitSettings
from storage.database.peers import News
from storage.errors import StorageError
from storage.records import DIRECT_MESSAGES, Who
from storage.servers.stored_settings import GuildRecord, GuildRecords

log = logging.getLogger(__name__)

MOST_CHARACTERS = 500
"""Longest persona; it is part of every prompt."""
MOST_CHANNELS, MOST_REACTIONS, MOST_EMOJI, MOST_LISTED, MOST_ROLES = 50, 5, 100, 100, 25
_MOST_KNOWN = 10_000

EmojiKey = Annotated[str, Predicate(lambda key: key.startswith(":") and key[1:].isdecimal())]

OUT_OF_RANGE = mark("`{setting}`: this value is not allowed.")
TOO_LONG = mark(
    "A list can hold at most {entries} entries, and at most {roles} roles can have their own limits."
)
_MOST: Mapping[str, tuple[str, int]] = {
    "persona": (mark("A persona can have at most {most} characters. Please shorten it."), MOST_CHARACTERS),
    "chat_channels": (
        mark("I can answer every message in at most {most} channels. Please remove one first."),
        MOST_CHANNELS,
    ),
    "seeded_reactions": (mark("I can add at most {most} emoji under my replies."), MOST_REACTIONS),
    "emoji": (mark("I can store the meaning of at most {most} emoji."), MOST_EMOJI),
}
"""Setting -> message when it is too long, and its limit."""


class SettingsRefused(Exception):
    """A setting of a server is out of range; the message has one line per mistake.

    It is raised in the writer, where the language of the manager is not known, so it is translated when it is
    shown.

    Args:
        mistakes: (text marked for translation, its values), one per mistake.
    """

    def __init__(self, *mistakes: tuple[str, Mapping[str, object]]) -> None:
        super().__init__(*mistakes)
        self._mistakes = mistakes

    def __str__(self) -> str:
        """Return the mistakes in the current language."""
        return "\n".join(tr(text, **values) for text, values in self._mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildSettings:
    """Settings that managers made for a server; None means the value of the configuration.

    Attributes:
        persona: Persona of the bot in this server.
        model: One of the models that the operator offers.
        chat_channels: Ids of channels in which every message is answered (their threads too).
        seeded_reactions: Emoji that the bot adds to its own replies.
        emoji: The server's custom emoji as ``:id`` -> valence from -1 (dislike) to 1 (like); 0: ignored.
        allow: Members and places that the bot answers; empty: all that the configuration allows.
        deny: Members and places that it does not answer.
        limits: Daily limits; they apply where they are tighter than the configuration.
    """

    persona: Annotated[str, Len(1, MOST_CHARACTERS)] | None = None
    model: str | None = None
    chat_channels: Annotated[tuple[int, ...], MaxLen(MOST_CHANNELS)] | None = None
    seeded_reactions: Annotated[tuple[str, ...], MaxLen(MOST_REACTIONS)] | None = None
    emoji: Annotated[dict[EmojiKey, Annotated[float, Interval(ge=-1, le=1)]], MaxLen(MOST_EMOJI)] = field(
        default_factory=dict[str, float]
    )
    allow: GuildAccessList = field(default_factory=GuildAccessList)
    deny: GuildAccessList = field(default_factory=GuildAccessList)
    limits: LimitSettings = field(default_factory=LimitSettings)


_ADAPTER = TypeAdapter(GuildSettings)

GuildChange = Callable[[GuildSettings], GuildSettings]


def settings_of(record: GuildRecord) -> GuildSettings:
    """Parse a stored record; keys of another version that this one does not know are ignored.

    Raises:
        SettingsRefused: A value is out of range.
    """
    raw = json.dumps({**record.body, "emoji": dict(record.emoji)})
    try:
        return _ADAPTER.validate_json(raw, strict=True, extra="ignore")
    except ValidationError as exc:
        raise SettingsRefused(*(_mistake(error) for error in exc.errors())) from exc


def record_of(settings: GuildSettings) -> GuildRecord:
    """Convert settings to a record that holds only what differs from the defaults.

    Raises:
        SettingsRefused: A value is out of range.
    """
    body: dict[str, Any] = _ADAPTER.dump_python(settings, mode="json", exclude_defaults=True)
    emoji = body.pop("emoji", {})
    record = GuildRecord(body, emoji)
    longest = max(len(names) for one in (settings.allow, settings.deny) for names in _names(one))
    if longest > MOST_LISTED or len(settings.limits.roles) > MOST_ROLES:
        raise SettingsRefused((TOO_LONG, {"entries": MOST_LISTED, "roles": MOST_ROLES}))
    settings_of(record)
    return record


def _mistake(error: Any) -> tuple[str, Mapping[str, object]]:
    """Return the message for one validation error, and its values."""
    setting = str(error["loc"][0])
    if setting in _MOST and error["type"] in ("too_long", "string_too_long"):
        text, most = _MOST[setting]
        return text, {"most": most}
    return OUT_OF_RANGE, {"setting": ".".join(str(part) for part in error["loc"])}


def _names(one: GuildAccessList) -> tuple[Sequence[object], ...]:
    return one.members, one.roles, one.channels, one.categories


@dataclass(frozen=True, slots=True)
class GuildView:
    """Effective settings of one server: the configuration and the server's own settings combined.

    Attributes:
        persona: Persona of the bot; None: as configured.
        model: Model that writes replies; None: the configured one.
        chat_channels: Ids of channels in which every message is answered; None: as configured.
        seeded_reactions: Emoji that the bot adds to its own replies.
        access: (allowed, denied) of the configuration and of the server; both must allow a member.
        limits: Daily limits of the configuration and of the server; the tighter one applies.
    """

    persona: str | None
    model: str | None
    chat_channels: tuple[int, ...] | None
    seeded_reactions: tuple[str, ...]
    access: tuple[tuple[AnyList, AnyList], ...]
    limits: tuple[LimitSettings, ...]


def view_of(settings: Settings, own: GuildSettings) -> GuildView:
    """Combine a server's own settings with the configuration.

    A model that is not offered any more is passed over, and so are chat channels while the bot cannot read
    messages that do not mention it.
    """
    readable = own.chat_channels if settings.bot.message_content else None
    return GuildView(
        persona=own.persona,
        model=own.model if own.model in models_offered(settings) else None,
        chat_channels=readable,
        seeded_reactions=settings.bot.seeded_reactions
        if own.seeded_reactions is None
        else own.seeded_reactions,
        access=((settings.bot.allow, settings.bot.deny), (own.allow, own.deny)),
        limits=(settings.limits, own.limits),
    )


def models_offered(settings: Settings) -> tuple[str, ...]:
    """Names of the models that a server may choose from; the first is the configured one.

    There is none to choose from where several writers write.
    """
    if settings.generator.writers:
        return ()
    return tuple(dict.fromkeys((settings.generator.model, *settings.generator.models)))


class Guilds:
    """Reads and changes the settings of servers.

    Args:
        records: Stored settings.
        settings: The configuration.
    """

    def __init__(self, records: GuildRecords, settings: Settings) -> None:
        self._records = records
        self.settings = settings
        self._known: LRUCache[int, tuple[GuildSettings, int]] = LRUCache(_MOST_KNOWN)
        self._n_drops = 0  # settings that were read before the latest drop are stale

    def use_settings(self, settings: Settings) -> None:
        """Use another configuration from the next message on."""
        self.settings = settings

    def use_bot(self, settings: BotSettings) -> None:
        """Use another section ``[bot]``; the playground's bot has its own."""
        self.settings = replace(self.settings, bot=settings)

    def name_of(self, who: Who) -> str:
        """Return the keyed hash of the member in the lists of their server."""
        return self._records.name_of(who)

    def hear(self, news: News) -> None:
        """Invalidate the cache when another process changed settings."""
        if news is News.SETTINGS:
            self.drop_all()

    def forget(self, leaving: Leaving) -> None:
        """Invalidate the cache when the settings of a server may have been deleted.

        Keyed hashes of members in the lists of a server stay, as a refusal does: forgetting must not be a way
        around a block.
        """
        if leaving.servers:
            self.drop_all()

    def drop_all(self) -> None:
        """Invalidate the cache: the next access reads the settings of a server again."""
        self._n_drops += 1

    async def of(self, guild_id: int) -> GuildView:
        """Return the effective settings of a server; those of direct messages are the configuration.

        While the store does not answer, the last known settings apply.
        """
        return view_of(self.settings, await self._own(guild_id))

    async def read(self, guild_id: int) -> GuildSettings:
        """Read the stored settings of a server.

        Raises:
            StorageError: It cannot be read.
            SettingsRefused: A stored value is out of range.
        """
        return settings_of(await self._records.of(guild_id))

    async def change(self, guild_id: int, change: GuildChange) -> int:
        """Change the settings of a server, from the next message on, in every process.

        Args:
            guild_id: Discord id of the server.
            change: Settings before -> settings after; may raise to change nothing.

        Returns:
            Number of members who became due for a round.

        Raises:
            StorageError: It cannot be written.
            SettingsRefused: A value is out of range.
        """
        try:
            return await self._records.change(guild_id, lambda before: record_of(change(settings_of(before))))
        finally:
            self.drop_all()

    async def clear(self, guild_id: int) -> int:
        """Delete the settings of a server, so that the configuration applies; see :meth:`change`."""
        try:
            return await self._records.change(guild_id, lambda _: GuildRecord())
        finally:
            self.drop_all()

    async def _own(self, guild_id: int) -> GuildSettings:
        if guild_id == DIRECT_MESSAGES:
            return GuildSettings()
        known, read_at = self._known.get(guild_id, (GuildSettings(), -1))
        n_drops = self._n_drops
        if read_at == n_drops:
            return known
        try:
            own = await self.read(guild_id)
        except (StorageError, SettingsRefused) as exc:
            log.warning(
                "the settings of a server cannot be read (%s); the last known ones hold", type(exc).__name__
            )
            return self._known.get(guild_id, (known, -1))[0]
        self._known[guild_id] = own, n_drops  # stale already if something changed while it was read
        return own


def changed_list(one: GuildAccessList, entries: Mapping[str, object], *, listed: bool) -> GuildAccessList:
    """Return a list with entries added or removed.

    Args:
        one: The list.
        entries: Field (``members``, ``roles``, ``channels``, ``categories``) -> entry to add or remove.
        listed: Whether to add them; else they are removed.
    """
    changed = {
        name: tuple(dict.fromkeys((*(e for e in getattr(one, name) if e != entry), *([entry] * listed))))
        for name, entry in entries.items()
    }
    return replace(one, **changed)


def limit_change(
    per: Literal["member", "server", "role"], limit: DailyLimit, role_id: int | None
) -> GuildChange:
    """Return the change that sets a daily limit.

    Args:
        per: Whether it is the limit of each member, of the server, or of each member of a role.
        limit: The limit.
        role_id: The role; None for the others.
    """

    def change(own: GuildSettings) -> GuildSettings:
        limits = own.limits
        if per == "role":
            limits = replace(limits, roles=limits.roles | {str(role_id): limit})
        elif per == "member":
            limits = replace(limits, member_messages=limit.messages, member_tokens=limit.tokens)
        else:
            limits = replace(limits, server_messages=limit.messages, server_tokens=limit.tokens)
        return replace(own, limits=limits)

    return change
