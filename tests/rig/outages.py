"""A bot in a simulated Discord whose gateway connection breaks; extends simcord.

:class:`Api` answers the requests that read back (history, one message, who reacted) from a
:class:`~tests.rig.schedules.Truth`, with super reactions, pages and permissions like Discord. It counts
requests and can refuse them. :class:`Twin` delivers events to the bot or holds them back. An outage that ends
in a resume delivers them late, some of them twice. Events during an outage that ends in a new session, or
while the bot is stopped, are lost.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import discord
import simcord
from simcord.backend import serializers

from bot.app.composition import House, open_house
from bot.client import SimpaticoBot, create_bot
from bot.config import Settings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.schedules import Act, Truth, emoji_payload
from tests.rig.waiting import no_time

MESSAGES = "/channels/{channel_id}/messages"
MESSAGE = MESSAGES + "/{message_id}"
REACTIONS = MESSAGE + "/reactions/{emoji}"


class _Answer:
    """The part of an HTTP response that discord.py's errors need."""

    def __init__(self, status: int) -> None:
        self.status, self.reason = status, "refused"


@dataclass
class Api:
    """Discord's HTTP API for requests that read back.

    Attributes:
        truth: The reactions that Discord shows.
        me: The bot's user id.
        deleted: Deleted messages.
        asked: Every request: (route, channel, status).
        before: Called before each answer, with the number of requests so far; ``after`` likewise.
        refusals: Channel -> (status, code) of the error it answers with.
        down: How many of the next requests fail with status 500.
        channel: Channel of the current request.
        nonces: (channel, nonce) -> the message that was posted with it.
    """

    truth: Truth
    me: int = 0
    deleted: set[int] = field(default_factory=set)
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    before: Callable[[int], None] = lambda _: None
    after: Callable[[int], None] = lambda _: None
    refusals: dict[int, tuple[int, int]] = field(default_factory=dict)
    down: int = 0
    channel: int = 0
    nonces: dict[tuple[Any, Any], Any] = field(default_factory=dict)

    def install(self, bot: SimpaticoBot) -> None:
        """Intercept the requests of the bot's HTTP client."""
        self.me = bot.me
        inner = bot.http.request

        async def request(route: Any, **options: Any) -> Any:
            if route.method == "POST" and route.path == MESSAGES:
                return await self._posted(route, inner, options)
            if route.method != "GET" or not route.path.startswith(MESSAGES):
                return await inner(route, **options)
            channel_id = self.channel = int(route.channel_id)
            try:
                self.before(len(self.asked))
                answer = await self._answer(route, options.get("params") or {}, inner, options)
            except discord.HTTPException as exc:
                self.asked.append((route.path, channel_id, exc.status))
                raise
            self.asked.append((route.path, channel_id, 200))
            self.after(len(self.asked))
            return answer

        bot.http.request = request

    async def _posted(self, route: Any, inner: Any, options: dict[str, Any]) -> Any:
        """Post; if an enforced nonce was used before in this channel, return the earlier message instead."""
        wanted = options.get("json") or {}
        name = route.channel_id, wanted.get("nonce")
        if not wanted.get("enforce_nonce") or name not in self.nonces:
            self.nonces[name] = await inner(route, **options)
        return self.nonces[name]

    async def _answer(self, route: Any, params: dict[str, Any], inner: Any, options: dict[str, Any]) -> Any:
        if self.down:
            self.down -= 1
            raise discord.DiscordServerError(_Answer(500), "down")
        if (refusal := self.refusals.get(int(route.channel_id))) is not None:
            kind = discord.Forbidden if refusal[0] == 403 else discord.NotFound
            raise kind(_Answer(refusal[0]), {"code": refusal[1], "message": "refused"})
        parts = route.url.split("?")[0].rsplit("/messages", 1)[1].split("/")
        if route.path == MESSAGES:
            page = [self._shown(one) for one in await inner(route, **options)]
            return [one for one in page if int(one["id"]) not in self.deleted]
        message_id = int(parts[1])
        if message_id in self.deleted:
            raise discord.NotFound(_Answer(404), {"code": 10008, "message": "Unknown Message"})
        if route.path == MESSAGE:
            return self._shown(await inner(route, **options))
        assert route.path == REACTIONS
        return self._users(message_id, unquote(parts[3]), params)

    def _shown(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return a simcord message with the reactions of the truth."""
        counts: dict[str, list[set[int]]] = {}
        for user, emoji, burst in self.truth.standing.get(int(message["id"]), ()):
            counts.setdefault(emoji, [set(), set()])[burst].add(user)
        reactions = [
            {
                "emoji": emoji_payload(emoji),
                "count": len(normal) + len(burst),
                "count_details": {"normal": len(normal), "burst": len(burst)},
                "me": self.me in normal,
                "me_burst": self.me in burst,
            }
            for emoji, (normal, burst) in counts.items()
        ]
        return message | {"reactions": reactions}

    def _users(self, message_id: int, emoji: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        name, _, id_ = emoji.partition(":")
        wanted = {"id": id_ or None, "name": name}
        given = sorted(
            user
            for user, one, burst in self.truth.standing.get(message_id, ())
            if emoji_payload(one) == wanted and burst == bool(int(params.get("type", 0)))
        )
        above = [user for user in given if user > int(params.get("after", 0))]
        return [{"id": str(user)} for user in above[: int(params["limit"])]]


@dataclass
class Twin:
    """The bot and its simulated Discord; survives restarts of the bot."""

    env: simcord.Env
    settings: Settings
    api: Api
    guild: simcord.GuildHandle
    channels: list[simcord.ChannelHandle]
    people: list[simcord.MemberActor]
    bot: SimpaticoBot
    house: House
    generator: ScriptedGenerator
    stack: AsyncExitStack
    online: bool = True
    kept_back: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    reconciles: bool = True

    def happen(self, act: Act) -> None:
        """Deliver an act to the bot, or hold it back during an outage. The caller has already played it."""
        if act.kind == "delete":
            self.api.deleted.add(act.message_id)
        payload = act.payload(self.guild.id, self.channel_of(act.message_id))
        if self.online:
            self._feed(act.event(), payload)
        else:
            self.kept_back.append((act.event(), payload))

    async def asked_again(self) -> None:
        """Repeat a member's last message, as the gateway does for a process that starts after a crash."""
        payload = next(
            payload
            for _, name, payload in reversed(self.env.backend.transcript)
            if name == "MESSAGE_CREATE" and int(payload["author"]["id"]) != self.bot.me
        )
        with self.env._bot_scope():
            self._feed("MESSAGE_CREATE", copy.deepcopy(dict(payload)))
        await self.env.settle()

    def channel_of(self, message_id: int) -> int:
        return next(c.id for c in self.channels if message_id in self.env.backend.messages[c.id])

    def _feed(self, event: str, payload: dict[str, Any]) -> None:
        self.bot._connection.parsers[event](payload)

    async def resumed(self, n_twice: int) -> None:
        """Resume the connection: deliver the held-back events, the last ``n_twice`` of them twice."""
        self.online = True
        for event, payload in self.kept_back + self.kept_back[-n_twice:] if n_twice else self.kept_back:
            self._feed(event, payload)
        self.kept_back.clear()
        self.bot.dispatch("resumed")
        await self.quiet()

    async def new_session(self) -> None:
        """Connect with a new session: the held-back events are lost."""
        self.kept_back.clear()
        self.online = True
        backend = self.env.backend
        self._feed("READY", ready_payload(backend))
        for guild in backend.guilds.values():
            self._feed("GUILD_CREATE", dict(serializers.guild_create_payload(backend, guild)))
        await self.quiet()

    async def stop(self) -> None:
        """Stop the bot in an orderly way; later events are lost."""
        await self.quiet()
        self.online = False
        await self.stack.aclose()

    async def start(self) -> None:
        """Start the bot again on the same data."""
        self.kept_back.clear()
        self.bot, self.house, self.generator, self.stack = await _run(self.settings)
        self.prepare()
        await self.env.restart_bot(self.bot)
        self.api.install(self.bot)
        self.online = True
        self.bot.reconciler.outage()  # its first look may have run before the API was installed
        await self.quiet()

    def prepare(self) -> None:
        """Remove the pauses between requests; switch looks off if ``reconciles`` is False."""
        self.bot.reconciler._sleep = no_time
        if not self.reconciles:
            self.bot.reconciler._start = lambda: None
            self.bot.inbox.missed = lambda: None

    async def quiet(self) -> None:
        """Wait until the bot is idle."""
        calm = 0
        async with asyncio.timeout(120):
            while calm < 20:
                await asyncio.sleep(0)
                await self.bot.inbox.wait_idle()
                busy = self.bot.reconciler._running or len(self.bot.inbox) or not self.bot.is_ready()
                calm = 0 if busy else calm + 1
                if busy:
                    await asyncio.sleep(0.001)


async def _run(settings: Settings) -> tuple[SimpaticoBot, House, ScriptedGenerator, AsyncExitStack]:
    generator = ScriptedGenerator()
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(
            open_house(settings, seed=0, encoder=HashEncoder(), generator=generator)
        )
        bot = create_bot(settings.bot, house.parts, always_sync=True)
        return bot, house, generator, stack.pop_all()


def ready_payload(backend: Any) -> dict[str, Any]:
    """Payload of the gateway's READY event for a new session."""
    return {
        "v": 10,
        "user": dict(serializers.user_payload(backend.bot_user)),
        "guilds": [],
        "session_id": "another",
        "resume_gateway_url": "wss://simcord.invalid",
        "application": {"id": str(backend.application_id), "flags": 0},
    }


@asynccontextmanager
async def twin(settings: Settings, *, n_members: int = 3, reconciles: bool = True) -> AsyncIterator[Twin]:
    """Open a server with two channels and ``n_members`` members; all but the last agree."""
    bot, house, generator, stack = await _run(settings)
    env = simcord.Env(bot, settle_timeout=60.0)
    await env.start()
    guild = env.create_guild("Outages")
    people = [guild.add_member(env.create_user(f"member{number}")) for number in range(n_members)]
    channels = [guild.create_text_channel(name) for name in ("one", "two")]
    api = Api(Truth())
    here = Twin(
        env, settings, api, guild, channels, people, bot, house, generator, stack, reconciles=reconciles
    )
    here.prepare()
    for member in people[:-1]:
        shown = await member.slash(channels[0], "privacy")
        await member.click(shown.response, label="Learn what I like")
    api.install(bot)
    try:
        yield here
    finally:
        await here.stack.aclose()
        await env.shutdown()
