"""The gateway: WebSocket connections of any number of shards and processes.

Opcodes and close codes are Discord's. A session lives on after its connection is lost, so that it can be
resumed; a client that closes with 1000 or 1001 ends it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import discord
from aiohttp import WSMsgType, web
from simcord.backend import serializers
from simcord.gateway import FakeWebSocket

from tests.rig.discord_server.limits import IdentifyBudget
from tests.rig.discord_server.sessions import Session
from tests.rig.discord_server.world import World

_RECONNECT, _INVALID_SESSION, _HELLO, _ACK = 7, 9, 10, 11
_UNKNOWN, _NOT_YET, _BAD_TOKEN, _TWICE, _TOO_MANY = 4001, 4003, 4004, 4005, 4008
_BAD_SHARD, _NEEDS_SHARDS, _NOT_GRANTED = 4010, 4011, 4014
_MOST_SERVERS = 2500
"""Servers that Discord gives to one shard."""
_MOST_SENT, _SENT_IN_S = 120, 60.0


class Connection:
    """One WebSocket connection."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None, zipped: bool):
        self.socket, self.transport = socket, transport
        self.session: Session | None = None
        self.came: deque[float] = deque(maxlen=_MOST_SENT)
        self._zip = zlib.compressobj() if zipped else None
        self._queue: asyncio.Queue[str | int] = asyncio.Queue()

    def send(self, frame: str) -> None:
        """Send a frame, after all frames before it."""
        self._queue.put_nowait(frame)

    def send_op(self, op: int, data: Any = None) -> None:
        """Send a frame that is no event."""
        self.send(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    def close(self, code: int) -> None:
        """Close with this code, after all frames before."""
        self._queue.put_nowait(code)

    def drop(self) -> None:
        """Break the connection at once, without a close frame."""
        if self.transport is not None:
            self.transport.abort()

    async def write(self) -> None:
        """Send what is queued until the connection is closed."""
        while not self.socket.closed:
            item = await self._queue.get()
            try:
                if isinstance(item, int):
                    await self.socket.close(code=item)
                elif self._zip is None:
                    await self.socket.send_str(item)
                else:
                    data = self._zip.compress(item.encode()) + self._zip.flush(zlib.Z_SYNC_FLUSH)
                    await self.socket.send_bytes(data)
            except ConnectionError:  # it was lost; the session keeps its events
                return


@dataclass
class Gateway:
    """All connections and sessions.

    Attributes:
        world: The servers.
        token: Returns the bot token that counts now.
        reset_token: Called when the identify budget is overdrawn.
        url: The address that clients are told, with a slash at the end.
        budget: Limits of new sessions.
        message_content: Whether the application has this privileged intent.
        heartbeat_s: Seconds between heartbeats that clients are told.
        patience_s: Seconds before a refused client is told so; Discord takes one to five.
        n_again: Events that a RESUME repeats although the client has them; Discord delivers at least once.
        down: Whether new connections are refused.
        counted: Opcode or what was done ("resumed", "refused resume", "closed 4004") -> times.
    """

    world: World
    token: Callable[[], str]
    reset_token: Callable[[], None]
    url: str = ""
    budget: IdentifyBudget = field(default_factory=IdentifyBudget)
    message_content: bool = True
    heartbeat_s: float = 41.25
    patience_s: float = 1.0
    n_again: int = 0
    down: bool = False
    counted: Counter[int | str] = field(default_factory=Counter)
    sessions: dict[str, Session] = field(default_factory=dict)
    connections: set[Connection] = field(default_factory=set)
    _answering: set[asyncio.Future[None]] = field(default_factory=set)

    # ------------------------------------------------------------ faults

    def of_shard(self, shard_id: int | None) -> Iterator[Connection]:
        """Yield the connections of a shard; None: of all."""
        for one in list(self.connections):
            if shard_id is None or (one.session is not None and one.session.shard_id == shard_id):
                yield one

    def drop(self, shard_id: int | None = None) -> None:
        """Break connections without a close frame; the sessions can be resumed."""
        for one in self.of_shard(shard_id):
            self._detach(one)  # events from now on wait for the RESUME
            one.drop()

    def reconnect(self, shard_id: int | None = None) -> None:
        """Ask clients to connect again and resume."""
        for one in self.of_shard(shard_id):
            one.send_op(_RECONNECT)

    def invalidate(self, shard_id: int | None = None, *, resumable: bool = False) -> None:
        """Tell clients that their session is not valid; it ends unless it is resumable."""
        for one in self.of_shard(shard_id):
            if one.session is not None and not resumable:
                self._end(one.session)
            one.send_op(_INVALID_SESSION, resumable)

    def close(self, code: int, shard_id: int | None = None) -> None:
        """Close connections with a code."""
        for one in self.of_shard(shard_id):
            self._closed(one, code)

    # ------------------------------------------------------------ events

    def emit(self, event: str, payload: Mapping[str, Any]) -> None:
        """Hand an event of the world to the sessions whose shard it belongs to."""
        named = "id" if event in ("GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE") else "guild_id"
        guild_id = int(payload[named]) if payload.get(named) is not None else None
        if guild_id in self.world.unavailable:
            return
        for session in list(self.sessions.values()):
            if session.owns(guild_id):
                session.shaper.feed(event, payload)

    # ------------------------------------------------------- connections

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        compress = request.query.get("compress")
        if self.down or request.query.get("encoding") != "json" or compress not in (None, "zlib-stream"):
            return web.Response(status=503 if self.down else 400)
        socket = web.WebSocketResponse(compress=False, timeout=1.0)
        await socket.prepare(request)
        here = Connection(socket, request.transport, compress is not None)
        self.connections.add(here)
        writing = asyncio.create_task(here.write())
        here.send_op(_HELLO, {"heartbeat_interval": int(self.heartbeat_s * 1000)})
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(here, json.loads(message.data))
        finally:
            writing.cancel()
            self.connections.discard(here)
            session = self._detach(here)
            if session is not None and socket.close_code in (1000, 1001):
                self._end(session)
        return socket

    def _receive(self, here: Connection, frame: dict[str, Any]) -> None:
        op, now = frame["op"], asyncio.get_running_loop().time()
        data: Any = frame.get("d")
        self.counted[op] += 1
        if len(here.came) == _MOST_SENT and now - here.came[0] < _SENT_IN_S:
            return self._closed(here, _TOO_MANY)
        here.came.append(now)
        match op:
            case 1:
                here.send_op(_ACK)
            case 2:
                self._identify(here, data)
            case 6:
                self._resume(here, data)
            case 3 | 4 if here.session is not None:
                pass  # presence and voice state are not kept
            case 8 if here.session is not None:
                answering = asyncio.ensure_future(self._members(here.session, data))
                self._answering.add(answering)
                answering.add_done_callback(self._answering.discard)
            case 3 | 4 | 8:
                self._closed(here, _NOT_YET)
            case _:
                self._closed(here, _UNKNOWN)
        return None

    def _identify(self, here: Connection, data: dict[str, Any]) -> None:
        shard_id, n_shards = data.get("shard") or (0, 1)
        shard = int(shard_id), int(n_shards)
        intents = discord.Intents.none()
        intents.value = int(data["intents"])
        code = self._code_against(here, data["token"], shard, intents)
        if code is not None:
            self._closed(here, code)
        elif self.budget.spent:
            self.reset_token()
            self.close(_BAD_TOKEN)
        elif self.budget.take(shard[0]):
            self._begin(here, shard, intents)
        else:
            self._refuse(here)

    def _code_against(
        self, here: Connection, token: str, shard: tuple[int, int], intents: discord.Intents
    ) -> int | None:
        """Return the code that an IDENTIFY is refused with; None: it is well formed and allowed."""
        shard_id, n_shards = shard
        if token != self.token():
            return _BAD_TOKEN
        if here.session is not None:
            return _TWICE
        if not 0 <= shard_id < n_shards:
            return _BAD_SHARD
        if sum((one >> 22) % n_shards == shard_id for one in self.world.backend.guilds) > _MOST_SERVERS:
            return _NEEDS_SHARDS
        if intents.message_content and not self.message_content:
            return _NOT_GRANTED
        return None

    def _begin(self, here: Connection, shard: tuple[int, int], intents: discord.Intents) -> None:
        """Open a session: READY, then each server of the shard."""
        world, backend = self.world, self.world.backend
        session = Session(backend, secrets.token_hex(16), shard, intents)
        self.sessions[session.session_id] = session
        here.session, session.connection = session, here
        guilds = [one for one in backend.guilds.values() if session.owns(one.id)]
        session.put(
            "READY",
            {
                "v": 10,
                "user": dict(serializers.user_payload(backend.bot_user)),
                "guilds": [{"id": str(one.id), "unavailable": True} for one in guilds],
                "session_id": session.session_id,
                "resume_gateway_url": self.url,
                "shard": list(shard),
                "application": {"id": str(backend.application_id), "flags": 0},
            },
        )
        for one in guilds:
            if one.id not in world.unavailable:
                session.shaper.feed("GUILD_CREATE", serializers.guild_create_payload(backend, one))

    def _resume(self, here: Connection, data: dict[str, Any]) -> None:
        session = self.sessions.get(data["session_id"])
        if data["token"] != self.token():
            self._closed(here, _BAD_TOKEN)
        elif session is None or data["seq"] is None or not session.can_resume(data["seq"]):
            self.counted["refused resume"] += 1
            self._refuse(here)
        else:
            for before in list(self.connections):
                if before.session is session:
                    before.session = None
                    before.close(4000)
            self.counted["resumed"] += 1
            here.session = session
            session.resume(here, data["seq"], n_again=self.n_again)

    async def _members(self, session: Session, data: dict[str, Any]) -> None:
        """Answer a request for members, as simcord does."""
        asked = FakeWebSocket(self.world.backend, session.shaper, shard_id=session.shard_id)
        given: dict[str, Any] = {name: data.get(name) for name in ("query", "user_ids", "nonce")}
        await asked.request_chunks(int(data["guild_id"]), limit=data.get("limit", 0), **given)

    def _refuse(self, here: Connection) -> None:
        """Send INVALID_SESSION after a while; a client that tries again at once would never stop."""
        asyncio.get_running_loop().call_later(self.patience_s, here.send_op, _INVALID_SESSION, False)

    def _closed(self, here: Connection, code: int) -> None:
        self.counted[f"closed {code}"] += 1
        here.close(code)

    def _detach(self, here: Connection) -> Session | None:
        """Take a connection off its session, whose events are kept from now on."""
        session, here.session = here.session, None
        if session is not None and session.connection is here:
            session.connection = None
        return session

    def _end(self, session: Session) -> None:
        self.sessions.pop(session.session_id, None)
