"""Narrow protocols of the client for the cogs, so that no cog imports it.

Each cog combines the protocols that it needs. discord.py passes the client to ``setup``;
:mod:`bot.app.cogs_check` shows pyright that the client satisfies what every ``setup`` takes.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Protocol

import discord
from discord import app_commands
from discord.ext import commands

from bot.messages.queues import ConversationQueues
from bot.metrics import Metrics
from bot.reactions.inbox import Inbox
from bot.replies.responder import Responder
from bot.servers.daily_limits import Limits
from bot.servers.server_settings import Guilds
from bot.settings import BotSettings
from personalization.insight.taste import TasteReader
from storage.store import Store

__all__ = [
    "ConfigHost",
    "HasInbox",
    "HasLimits",
    "HasMetrics",
    "HasOwner",
    "HasQueues",
    "HasResponder",
    "HasServers",
    "HasStore",
    "HasTaste",
    "HasUser",
    "Registry",
]


class Registry(Protocol):
    """Registers cogs, commands and persistent components; see :class:`discord.ext.commands.Bot`."""

    @property
    def tree(self) -> app_commands.CommandTree[Any]:
        """The command tree."""
        ...

    async def add_cog(self, cog: commands.Cog, /) -> None:
        """Add a cog with its commands and listeners."""
        ...

    def add_dynamic_items(self, *items: type[discord.ui.DynamicItem[discord.ui.Item[Any]]]) -> None:
        """Register components that outlive a restart."""
        ...


class HasOwner(Protocol):
    """Recognizes the operator."""

    async def is_owner(self, user: Any, /) -> bool:
        """Return whether a user owns the application or is in its team."""
        ...


class HasUser(Protocol):
    """Has a Discord account."""

    @property
    def me(self) -> int:
        """The bot's own user id; only after login."""
        ...


class HasStore(Protocol):
    """Has the store."""

    @property
    def store(self) -> Store:
        """Consent, impressions, feedback."""
        ...


class HasServers(Protocol):
    """Has the settings of servers."""

    @property
    def servers(self) -> Guilds:
        """Settings of servers."""
        ...


class HasLimits(Protocol):
    """Has the daily limits."""

    @property
    def limits(self) -> Limits:
        """Counts what members and servers used of their day."""
        ...


class HasResponder(Protocol):
    """Has the responder."""

    @property
    def responder(self) -> Responder:
        """Decides replies."""
        ...


class HasMetrics(Protocol):
    """Has the metrics."""

    @property
    def metrics(self) -> Metrics:
        """Counts what happens."""
        ...


class HasQueues(Protocol):
    """Has the queues of conversations."""

    @property
    def queues(self) -> ConversationQueues:
        """Answers that wait in their conversation."""
        ...


class HasInbox(Protocol):
    """Has the queue of reaction events."""

    @property
    def inbox(self) -> Inbox:
        """Events that wait to be written."""
        ...


class HasTaste(Protocol):
    """Has the reader of labels."""

    @property
    def taste(self) -> TasteReader:
        """Reads what a member's labels say."""
        ...


class ConfigHost(Registry, HasServers, Protocol):
    """What ``/config`` needs."""

    @property
    def settings(self) -> BotSettings:
        """Section ``[bot]``, as it holds now."""
        ...

    @property
    def chat_channels(self) -> AbstractSet[int]:
        """Ids of the configured channels in which every message is answered."""
        ...

    def labels_changed(self, count: int, /) -> None:
        """Count members whose labels changed."""
        ...
