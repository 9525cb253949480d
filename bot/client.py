"""The Discord client: intents, cogs, event dispatch and orderly close. Tests drive this very bot.

The bot receives ready-made parts and closes none of them; the caller that opened the store closes it. Nothing
is read from the environment here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import discord
from discord.ext import commands

from bot.command_tree import SimpaticoTree, may_talk_here, sync_commands
from bot.identity import note_arrival, who_clicked
from bot.languages import CommandTranslator, Tongues
from bot.messages.bursts import FOLLOWED, follow
from bot.messages.queues import ConversationQueues, Spawn
from bot.messages.streaming import Streams
from bot.moderation.report_queue import ReportQueue
from bot.parts import Parts
from bot.pausing import Pausing
from bot.privacy import Privacy
from bot.proxies import Proxy, client_options, expecting_discord
from bot.reactions.gateway import INBOX_EVENTS, events_of
from bot.reactions.inbox import Inbox
from bot.reactions.readback import Readback
from bot.reactions.reconciler import Reconciler
from bot.replies.comparisons import Comparisons
from bot.replies.consent import Unanswered, invitations
from bot.replies.six_taps.asking import SixTaps
from bot.servers.identify_budget import IdentifyBudget, limits_of
from bot.servers.server_lists import ShardState, open_server_lists
from bot.servers.server_settings import GuildView
from bot.settings import BotSettings
from bot.tasks import Tasks
from storage.records import Deleted, Reacted
from storage.wording import counted

status = logging.getLogger("bot.status")  # shown at the default level, see bot/app/logs.py

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

_FINISH_S, _TELL_S, _WRITE_S = 4.0, 1.5, 1.0
"""Seconds that a stop gives to running answers, to notes about unfinished ones, and to waiting events.

A supervisor waits about ten before it kills.
"""


class SimpaticoBot(commands.Bot):
    """The Discord client. Cogs and panels reach the parts as its attributes."""

    def __init__(
        self,
        settings: BotSettings,
        parts: Parts,
        *,
        spawn: Spawn | None,
        always_sync: bool,
        proxy: Proxy | None,
        shards: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        super().__init__(
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=intents_of(settings),
            allowed_mentions=discord.AllowedMentions.none(),
            max_messages=1000,
            tree_cls=SimpaticoTree,
            **client_options(proxy),
            **shards,
        )
        self.store = parts.store
        self.responder = parts.responder
        self.ranker = parts.ranker
        self.memory = parts.memory
        self.taste, self.arms = parts.taste, parts.arms
        self.labels_changed = parts.labels_changed
        self.metrics = parts.metrics
        self.reporter = parts.reporter
        self.servers = parts.servers
        self.use_settings(settings)
        self.limits = parts.limits
        self.reads_pictures = parts.reads_pictures
        self.generator_name = parts.generator_name
        self.encoder_name = parts.encoder_name
        self.tasks = Tasks()
        spawn = spawn or self.tasks.spawn
        self.pausing = Pausing(parts.store.notes, parts.audit)
        self.privacy = Privacy(
            parts.store, parts.memory, agreed=parts.responder.agreed, retrain=parts.member_left
        )
        self.queues = ConversationQueues(settings.queue_per_channel, spawn=spawn)
        self.invited, self.unanswered = invitations(parts.store.tallies), Unanswered()
        self.tongues = Tongues()
        self.comparisons = Comparisons(parts.store, parts.responder, parts.ranker)
        self.streams = Streams()
        self.inbox = Inbox(parts.store.feedback.record_events, parts.labels_changed, spawn=spawn)
        self.reports = ReportQueue(parts.store)
        self._always_sync = always_sync
        self._follow_sessions(spawn)
        self._register()

    def _follow_sessions(self, spawn: Spawn) -> None:
        """Open the parts that begin sessions with Discord, and that act when one began."""
        self.identifies = IdentifyBudget(self.store.identifies, partial(limits_of, self))
        self.server_lists = open_server_lists(self, self.store, spawn)
        self.reconciler = Reconciler(
            Readback(self), self.store.posted, self.inbox, spawn=spawn, owns=self.owns
        )

    def _register(self) -> None:
        """Register all parts here that hold data of members, so that forgetting reaches them."""
        self.memory.register("waiting questions", self.queues)
        self.memory.register("languages", self.tongues)
        self.memory.register("waiting reactions", self.inbox)
        self.memory.register("comparisons", self.comparisons)
        self.memory.register("unanswered invitations", self.unanswered)

    @cached_property
    def six_taps(self) -> SixTaps:
        """The six taps; nothing in it is of a member."""
        return SixTaps(self.store, self.ranker, self.taste)

    @property
    def me(self) -> int:
        """The bot's own user id; only after login."""
        assert self.user is not None, "the bot is not logged in yet"
        return self.user.id

    def use_settings(self, settings: BotSettings) -> None:
        """Use other settings from the next message on; intents and queues stay as they were opened."""
        self.settings = settings
        self.servers.use_bot(settings)
        self.chat_channels = set(settings.chat_channels)

    def chat_channels_in(self, view: GuildView) -> Collection[int]:
        """Ids of the channels in which every message is answered."""
        return self.chat_channels if view.chat_channels is None else view.chat_channels

    async def may_use(self, interaction: discord.Interaction[Any]) -> bool:
        """Return whether the bot may talk to the member who used this, and there; sends a note if not."""
        return await may_talk_here(self.servers, interaction)

    async def setup_hook(self) -> None:
        """Load the cogs and sync the commands; runs once, unlike ``on_ready``."""
        await self.tree.set_translator(CommandTranslator())
        for cog in COGS:
            await self.load_extension(cog)
        await sync_commands(
            self.tree, self.store.notes, application_id=self.application_id, always=self._always_sync
        )

    async def login(self, token: str) -> None:
        """Log in, and load the cogs.

        Raises:
            NotDiscord: Something else answered in Discord's place.
            OSError: Discord cannot be reached.
            aiohttp.ClientError: The same, for another reason.
            discord.DiscordException: Discord refused the bot.
        """
        with expecting_discord(self):
            await super().login(token)

    async def connect(self, *, reconnect: bool = True) -> None:
        """Stay connected to the gateway; lost connections are made again after growing pauses.

        Raises:
            OSError: The first connection failed; discord.py cannot repeat that one.
            aiohttp.ClientError: The same, for another reason.
            discord.DiscordException: Discord refused the bot.
        """
        try:
            await self._before_connecting()
            await super().connect(reconnect=reconnect)
        except AttributeError as exc:
            failure = exc.__context__
            if self.ws is None and failure is not None:
                raise failure from None  # discord.py then asks for the session of a connection that never was
            raise

    async def _before_connecting(self) -> None:
        """Wait for the first session here: discord.py gives up a connection that waits for a minute."""
        await self._wait_for_turn(0)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Wait until a further session may begin."""
        if not initial:
            await self._wait_for_turn(shard_id or 0)

    async def _wait_for_turn(self, shard_id: int) -> None:
        """Wait until a session may begin, or the bot closes."""
        turn = self.tasks.spawn(self.identifies.wait(shard_id), name="session")
        try:
            await asyncio.wait([turn])
        finally:
            turn.cancel()

    @property
    def is_spare(self) -> bool:
        """Whether this process connects no shard at the moment, because others serve all it may serve."""
        return False

    def shard_states(self) -> Counter[ShardState]:
        """Count the shards that this process may serve, by state."""
        return Counter([self.server_lists.state_of(0)])

    def owns(self, guild_id: int) -> bool:
        """Return whether this process gets the events of a server; of direct messages: 0."""
        return True

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Put events about reactions into the inbox, in the order of the gateway, without a task for each.

        Note on every interaction when it came. discord.py dispatches it before its handlers run. Unfinished
        answers learn at once what happens to their messages.
        """
        if self.is_closed():
            return  # discord.py says "ready" two seconds after READY, also when the store is closed by now
        if event in FOLLOWED:
            follow(event, args[0] if args else None, self.queues.unfinished())
        if event == "interaction":
            came = self.store.feedback.arrival(args[0].created_at)
            note_arrival(args[0], came, self.privacy.begin(replace(who_clicked(args[0]), came=came)))
        if event not in INBOX_EVENTS:
            super().dispatch(event, *args, **kwargs)
        elif self.user is not None:
            came = self.store.feedback.arrival()  # consent and pause are judged by it, not by the writing
            for one in events_of(event, args[0], me=self.user.id):
                timed = replace(one, who=replace(one.who, came=came)) if isinstance(one, Reacted) else one
                self.inbox.put(timed)
                if (
                    isinstance(one, Reacted)
                    and one.added
                    and self.unanswered.explains(one.who, one.message_id)
                ):
                    super().dispatch("early_reaction", one)
                if isinstance(one, Deleted):
                    self.reports.drop(one.message_id)

    async def on_ready(self) -> None:
        """Read back what was missed: a new session began, at the start or after a failed resume."""
        self._read_back()
        await self.server_lists.ready(0)

    def _read_back(self) -> None:
        status.info(
            "online in %s, answering with %s", counted(len(self.guilds), "server"), self.generator_name
        )
        self.reconciler.outage()

    async def on_resumed(self) -> None:
        """Note that no event was missed."""
        await self.server_lists.resumed(0)

    async def on_disconnect(self) -> None:
        """Note that the connection was lost: what is missing now was not left."""
        await self.server_lists.down(0)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Drop what waits for a server that the bot was removed from; an outage of Discord is no removal."""
        self.reports.drop_server(guild.id)

    async def on_message(self, message: discord.Message, /) -> None:
        """Do nothing: there are no prefix commands, and the chat cog handles text."""

    async def close(self) -> None:
        """Finish running answers, tell members whose answers take too long, write events, disconnect."""
        if not self.is_closed():
            self.reconciler.stop()
            self.streams.stop_all()
            await self.queues.drain(_FINISH_S)
            await asyncio.gather(self.responder.stop.end(_TELL_S), self.queues.drain(_TELL_S))
            await self.inbox.drain(_WRITE_S)
        await super().close()
        # After the connection is closed, so that a cancelled answer cannot wait for Discord.
        await self.tasks.close()


def intents_of(settings: BotSettings) -> discord.Intents:
    """Return the gateway events that the bot needs; message content only when configured."""
    return discord.Intents(
        guilds=True,
        guild_messages=True,
        dm_messages=True,
        guild_reactions=True,
        dm_reactions=True,
        message_content=settings.message_content,
    )


def create_bot(
    settings: BotSettings,
    parts: Parts,
    *,
    spawn: Spawn | None = None,
    always_sync: bool = False,
    proxy: Proxy | None = None,
) -> SimpaticoBot:
    """Build the bot with one connection. :mod:`bot.app.sharded_client` builds one with several.

    Args:
        settings: Section ``[bot]``.
        parts: The parts of the bot.
        spawn: Starts the tasks of conversations, inbox and read-back; None: :class:`bot.tasks.Tasks`.
        always_sync: Sync the commands at every start, for a simulated Discord that does not keep them.
        proxy: The proxy to Discord; None: it connects directly.
    """
    return SimpaticoBot(settings, parts, spawn=spawn, always_sync=always_sync, proxy=proxy)
