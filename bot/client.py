"""``create_bot``: the Discord client with its intents, cogs and orderly close. Tests drive this very bot.

The bot receives ready-made parts and owns none of them: who made the store closes it. Nothing is read from
the environment here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.background.uplift_reporter import Reporter
from bot.identity import who_clicked
from bot.languages import CommandTranslator, Tongues, mark, tr
from bot.messages.queues import Claims, ConversationQueues, Spawn
from bot.messages.streaming import Streams
from bot.metrics import Metrics
from bot.moderation.report_queue import ReportQueue
from bot.reactions.gateway import INBOX_EVENTS, events_of
from bot.reactions.inbox import Inbox
from bot.reactions.readback import Readback
from bot.reactions.reconciler import Reconciler
from bot.replies.comparisons import Comparisons
from bot.replies.responder import Responder
from bot.servers.access import ALWAYS, may_talk, speaker_of_click
from bot.servers.daily_limits import Limits
from bot.servers.server_settings import Guilds, GuildView
from bot.settings import BotSettings
from personalization.insight.taste import TasteReader
from personalization.ranking.ranker import Ranker
from storage.errors import StorageError
from storage.records import Deleted, ForgetReceipt, MemberId, Who
from storage.store import Store

log = logging.getLogger(__name__)

COGS = (
    "bot.cogs.errors",
    "bot.cogs.members.privacy",
    "bot.cogs.members.help",
    "bot.cogs.members.style",
    "bot.cogs.members.my_data",
    "bot.cogs.members.feedback",
    "bot.cogs.chat.chat",
    "bot.cogs.chat.another",
    "bot.cogs.chat.compare",
    "bot.cogs.members.insight",
    "bot.cogs.managers.stats",
    "bot.cogs.managers.faq",
    "bot.cogs.managers.safety",
    "bot.cogs.managers.reported_replies",
    "bot.cogs.admin",
    "bot.cogs.managers.config",
    "bot.cogs.members.limits",
)

NOT_HERE = mark(
    "I am not allowed to answer you here. The managers of this server or the host of this bot decided"
    " that. `/privacy`, `/my-data` and `/forget-me` still work."
)

_DRAIN_S = 8.0
"""Seconds that running answers get when the bot closes; a supervisor waits about ten before it kills."""

_TREE_HASH = "command_tree"
_PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the bot is made of.

    Attributes:
        store: Consent, impressions, feedback.
        responder: Decides replies.
        ranker: Told whom to forget.
        taste: What a member's labels say, for showing it to them.
        labels_changed: Called with the number of members whose labels changed.
        metrics: Told what happens.
        reporter: Estimates what personalization brings.
        servers: What holds in each server.
        limits: What members and servers used of their day.
        member_left: Called when somebody was forgotten: what they helped to learn is due again.
        reads_pictures: Whether the language model is handed pictures.
        generator_name: Language model in words.
        encoder_name: Encoder in words.
    """

    store: Store
    responder: Responder
    ranker: Ranker
    taste: TasteReader
    labels_changed: Callable[[int], None]
    metrics: Metrics
    reporter: Reporter
    servers: Guilds
    limits: Limits
    member_left: Callable[[], None]
    reads_pictures: bool
    generator_name: str
    encoder_name: str


class SimpaticoTree(app_commands.CommandTree["SimpaticoBot"]):
    """The commands: in the language of who uses them, and declined kindly where the bot shall not talk."""

    async def interaction_check(self, interaction: discord.Interaction[SimpaticoBot], /) -> bool:
        """Let members' rights and managers' tools pass, and whoever the bot may talk to."""
        self.client.tongues.hear(interaction)
        if interaction.type is not discord.InteractionType.application_command:
            return True
        return (interaction.data or {}).get("name") in ALWAYS or await self.client.may_use(interaction)


class SimpaticoBot(commands.Bot):
    """The Discord client; the cogs find everything they need on it."""

    def __init__(self, settings: BotSettings, parts: Parts, *, spawn: Spawn, always_sync: bool) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=intents_of(settings),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=1000,
            tree_cls=SimpaticoTree,
        )
        self.settings = settings
        self.store = parts.store
        self.responder = parts.responder
        self.ranker = parts.ranker
        self.taste = parts.taste
        self.labels_changed = parts.labels_changed
        self.metrics = parts.metrics
        self.reporter = parts.reporter
        self.servers = parts.servers
        self.servers.use_bot(settings)
        self.limits = parts.limits
        self._member_left = parts.member_left
        self.reads_pictures = parts.reads_pictures
        self.generator_name = parts.generator_name
        self.encoder_name = parts.encoder_name
        self.chat_channels = set(settings.chat_channels)
        self.queues = ConversationQueues(settings.queue_per_channel, spawn=spawn)
        self.invited = Claims()
        self.tongues = Tongues()
        self.comparisons = Comparisons(parts.store, parts.responder, parts.ranker)
        self.streams = Streams()
        self.inbox = Inbox(parts.store.feedback.record_events, parts.labels_changed, spawn=spawn)
        self.reconciler = Reconciler(Readback(self), parts.store.posted, self.inbox, spawn=spawn)
        self.reports = ReportQueue(parts.store)
        self._always_sync = always_sync

    @property
    def me(self) -> int:
        """The bot's own user id; only after login."""
        assert self.user is not None, "the bot is not logged in yet"
        return self.user.id

    def use_settings(self, settings: BotSettings) -> None:
        """Go by other settings from the next message on; intents and queues stay as they were opened."""
        self.settings = settings
        self.servers.use_bot(settings)
        self.chat_channels = set(settings.chat_channels)

    def chat_channels_in(self, view: GuildView) -> Collection[int]:
        """Ids of the channels in which every message is answered."""
        return self.chat_channels if view.chat_channels is None else view.chat_channels

    async def may_use(self, interaction: discord.Interaction[Any]) -> bool:
        """Whether the bot talks to who used a command or button, and there; if not, they were told."""
        who = who_clicked(interaction)
        view = await self.servers.of(who.guild_id)
        speaker = speaker_of_click(interaction, self.servers.name_of(who))
        if all(may_talk(speaker, allow, deny) for allow, deny in view.access):
            return True
        await interaction.response.send_message(tr(NOT_HERE), ephemeral=True)
        return False

    async def setup_hook(self) -> None:
        """Load the cogs and sync the commands; runs once, unlike ``on_ready``."""
        await self.tree.set_translator(CommandTranslator())
        for cog in COGS:
            await self.load_extension(cog)
        await self._sync_commands()

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Hand events about reactions to the inbox, in the order of the gateway; no task for each."""
        if event not in INBOX_EVENTS:
            super().dispatch(event, *args, **kwargs)
        elif self.user is not None:
            for one in events_of(event, args[0], me=self.user.id):
                self.inbox.put(one)
                if isinstance(one, Deleted):
                    self.reports.drop(one.message_id)

    async def on_ready(self) -> None:
        """A new session, at the start or after a failed resume: read back what was missed."""
        self.reconciler.outage()
        await self.store.departures.record_present([guild.id for guild in self.guilds])

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """The bot was removed from a server; an outage of Discord is no removal."""
        if not guild.unavailable:
            self.reports.drop_server(guild.id)
            await self.store.departures.record(guild.id)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """The bot was invited to a server, perhaps again."""
        await self.store.departures.record_return(guild.id)

    async def on_message(self, message: discord.Message, /) -> None:
        """Leave text to the chat cog: there are no prefix commands."""

    async def forget(self, user_id: int) -> ForgetReceipt:
        """Forget a person in every server: in the store, in memory, and in what others learnt with them."""

        def let_go(member_ids: Sequence[MemberId]) -> None:
            self.queues.drop(user_id)
            self.tongues.drop(user_id)
            self.inbox.drop(user_id)
            self._let_go(member_ids, user_id, None)

        return self._learn_anew(await self.store.privacy.forget(user_id, let_go))

    async def refuse(self, who: Who) -> ForgetReceipt:
        """Forget a member in one server, and remember the no; they are still answered."""

        def let_go(member_ids: Sequence[MemberId]) -> None:
            self._let_go(member_ids, who.user_id, who.guild_id)

        return self._learn_anew(await self.store.privacy.refuse(who, let_go))

    def _let_go(self, member_ids: Sequence[MemberId], user_id: int, guild_id: int | None) -> None:
        """Drop what memory holds of who leaves; the store gives nothing of them any more."""
        self.ranker.drop(member_ids)
        self.responder.drop(user_id, guild_id)
        self.comparisons.drop(user_id, guild_id)
        if member_ids:
            self.responder.member_left()

    def _learn_anew(self, receipt: ForgetReceipt) -> ForgetReceipt:
        """Have learnt again, without them, what they had a part in."""
        if receipt.member_ids:
            self._member_left()
        return receipt

    async def pause(self, paused: bool) -> None:
        """Post nothing any more, in any process on this database; or answer again."""
        await self.store.notes.put(_PAUSED, "yes" if paused else "no")

    async def is_paused(self) -> bool:
        """Whether nothing may be posted. While the store does not answer, the bot goes on."""
        try:
            return await self.store.notes.of(_PAUSED) == "yes"
        except StorageError as exc:
            log.warning("the store does not say whether the bot is paused (%s)", type(exc).__name__)
            return False

    async def close(self) -> None:
        """Let running answers finish and events be written, then leave Discord."""
        if not self.is_closed():
            self.reconciler.stop()
            self.streams.stop_all()
            await self.queues.drain(_DRAIN_S)
            await self.inbox.drain(_DRAIN_S / 8)
        await super().close()

    async def _sync_commands(self) -> None:
        """Tell Discord our commands, only when they changed: syncing is rate-limited."""
        translator = self.tree.translator
        assert translator is not None
        payload = [
            await command.get_translated_payload(self.tree, translator)
            for command in self.tree.get_commands()
        ]
        digest = hashlib.sha256(
            json.dumps([self.application_id, payload], sort_keys=True, default=str).encode()
        ).hexdigest()
        if not self._always_sync and await self.store.notes.of(_TREE_HASH) == digest:
            return
        synced = await self.tree.sync()
        await self.store.notes.put(_TREE_HASH, digest)
        log.info("%d commands synced", len(synced))


def intents_of(settings: BotSettings) -> discord.Intents:
    """The gateway events the bot needs, one by one; message content only when configured."""
    return discord.Intents(
        guilds=True,
        guild_messages=True,
        dm_messages=True,
        guild_reactions=True,
        dm_reactions=True,
        message_content=settings.message_content,
    )


def create_bot(
    settings: BotSettings, parts: Parts, *, spawn: Spawn = asyncio.create_task, always_sync: bool = False
) -> SimpaticoBot:
    """Build the bot.

    Args:
        settings: Section ``[bot]``.
        parts: What it is made of.
        spawn: Starts the task that answers a conversation.
        always_sync: Sync the commands at every start, for a Discord that forgets them.
    """
    return SimpaticoBot(settings, parts, spawn=spawn, always_sync=always_sync)
