"""What holds in one server: what was set there with ``/config``, on top of what the configuration says.

:class:`GuildSettings` is what those who manage a server may set; it is validated as ``config.toml`` is,
and kept by the store, sealed. :class:`Guilds` gives the :class:`GuildView` that a message is answered under.
It is asked for every message, so what was read once is kept in memory until it changes, here or in another
process.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from annotated_types import Interval, Len, MaxLen, Predicate
from cachetools import LRUCache
from pydantic import TypeAdapter, ValidationError

from bot.config import Settings
from bot.languages import mark, tr
from bot.memory import Leaving
from bot.servers.access import AnyList, GuildAccessList
from bot.settings import BotSettings, LimitSettings
from storage.database.peers import News
from storage.errors import StorageError
from storage.records import DIRECT_MESSAGES, Who
from storage.servers.stored_settings import GuildRecord, GuildRecords

log = logging.getLogger(__name__)

MOST_CHARACTERS = 500
"""Of a persona: it is read with every message."""
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
"""Setting -> what is said when it is too long, and how much it may hold."""


class SettingsRefused(Exception):
    """What was to be set for a server is out of range; the message has a line for each mistake.

    It arises in the storage's writer, which knows no member's language; it is put in words where it is told.

    Args:
        mistakes: Text that is marked for translation, and the values in it.
    """

    def __init__(self, *mistakes: tuple[str, Mapping[str, object]]) -> None:
        super().__init__(*mistakes)
        self._mistakes = mistakes

    def __str__(self) -> str:
        """The mistakes, in the language of whoever reads them."""
        return "\n".join(tr(text, **values) for text, values in self._mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuildSettings:
    """What was set for a server; None: as the configuration says.

    Attributes:
        persona: Who the bot is here.
        model: One of the models that the operator offers.
        chat_channels: Ids of channels in which every message is answered (their threads too).
        seeded_reactions: Emoji the bot puts under its own replies.
        emoji: The server's own emoji, spelt ``:id`` -> -1 (dislike) to 1 (like); 0: they say nothing.
        allow: Whom the bot answers, and where; empty: everybody whom the configuration allows.
        deny: Whom it does not answer, and where.
        limits: How much it answers in a day, where that is tighter than the configuration.
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
    """Read what is stored; what another version of the program wrote and this one does not know is left out.

    Raises:
        SettingsRefused: A value is out of range.
    """
    raw = json.dumps({**record.body, "emoji": dict(record.emoji)})
    try:
        return _ADAPTER.validate_json(raw, strict=True, extra="ignore")
    except ValidationError as exc:
        raise SettingsRefused(*(_mistake(error) for error in exc.errors())) from exc


def record_of(settings: GuildSettings) -> GuildRecord:
    """Write settings as they are stored: only what differs from the defaults.

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
    """What a manager is told of one mistake that a validation found."""
    setting = str(error["loc"][0])
    if setting in _MOST and error["type"] in ("too_long", "string_too_long"):
        text, most = _MOST[setting]
        return text, {"most": most}
    return OUT_OF_RANGE, {"setting": ".".join(str(part) for part in error["loc"])}


def _names(one: GuildAccessList) -> tuple[Sequence[object], ...]:
    return one.members, one.roles, one.channels, one.categories


@dataclass(frozen=True, slots=True)
class GuildView:
    """What holds in one server.

    Attributes:
        persona: Who the bot is here; None: as configured.
        model: What writes here; None: the configured model.
        chat_channels: Ids of channels in which every message is answered; None: as configured.
        seeded_reactions: Emoji under the bot's replies.
        access: (allowed, denied) of the configuration and of the server: both must let a member talk.
        limits: Of the configuration and of the server: the tighter one holds.
    """

    persona: str | None
    model: str | None
    chat_channels: tuple[int, ...] | None
    seeded_reactions: tuple[str, ...]
    access: tuple[tuple[AnyList, AnyList], ...]
    limits: tuple[LimitSettings, ...]


def view_of(settings: Settings, own: GuildSettings) -> GuildView:
    """Put what a server set on top of the configuration.

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
    """Names of the models that a server may choose from; the first is the configured one."""
    return tuple(dict.fromkeys((settings.generator.model, *settings.generator.models)))


class Guilds:
    """Reads and changes what holds in servers.

    Args:
        records: Where it is kept.
        settings: The configuration.
    """

    def __init__(self, records: GuildRecords, settings: Settings) -> None:
        self._records = records
        self.settings = settings
        self._known: LRUCache[int, tuple[GuildSettings, int]] = LRUCache(_MOST_KNOWN)
        self._n_drops = 0  # settings that were read before the latest drop are stale

    def use_settings(self, settings: Settings) -> None:
        """Go by another configuration from the next message on."""
        self.settings = settings

    def use_bot(self, settings: BotSettings) -> None:
        """Go by another section ``[bot]``: the playground's bot has one of its own."""
        self.settings = replace(self.settings, bot=settings)

    def name_of(self, who: Who) -> str:
        """The member's name in the lists of their server."""
        return self._records.name_of(who)

    def hear(self, news: News) -> None:
        """Read settings again when another process changed some."""
        if news is News.SETTINGS:
            self.drop_all()

    def forget(self, leaving: Leaving) -> None:
        """Read settings again when those of a server may have been deleted.

        Names of members in the lists of a server (keyed hashes) stay, as a refusal does: forgetting must not
        be a way around a block.
        """
        if leaving.servers:
            self.drop_all()

    def drop_all(self) -> None:
        """Read every server's settings anew when they are asked for."""
        self._n_drops += 1

    async def of(self, guild_id: int) -> GuildView:
        """What holds in a server; in direct messages, as the configuration says.

        While the store does not answer, what was known last goes on to hold.
        """
        return view_of(self.settings, await self._own(guild_id))

    async def read(self, guild_id: int) -> GuildSettings:
        """What was set for a server, as it is stored now.

        Raises:
            StorageError: It cannot be read.
            SettingsRefused: What is stored is out of range.
        """
        return settings_of(await self._records.of(guild_id))

    async def change(self, guild_id: int, change: GuildChange) -> int:
        """Change what is set for a server; holds from the next message on, in every process.

        Args:
            guild_id: Discord id of the server.
            change: What was set -> what shall be; may raise to change nothing.

        Returns:
            How many members became due for a round.

        Raises:
            StorageError: It cannot be written.
            SettingsRefused: A value is out of range.
        """
        try:
            return await self._records.change(guild_id, lambda before: record_of(change(settings_of(before))))
        finally:
            self.drop_all()

    async def clear(self, guild_id: int) -> int:
        """Let the configuration alone hold in a server again; as :meth:`change`."""
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
    """Put entries into a list, or take them out.

    Args:
        one: The list.
        entries: Field (``members``, ``roles``, ``channels``, ``categories``) -> what to put in or take out.
        listed: Whether they stand in it afterwards.
    """
    changed = {
        name: tuple(dict.fromkeys((*(e for e in getattr(one, name) if e != entry), *([entry] * listed))))
        for name, entry in entries.items()
    }
    return replace(one, **changed)
