"""The server as a whole: its parts, its address, and how discord.py is pointed at it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import yarl
from aiohttp import web
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.rig.discord_server.faults import Faults
from tests.rig.discord_server.gateway import Gateway
from tests.rig.discord_server.limits import IdentifyBudget, Limits
from tests.rig.discord_server.rest import PREFIX, Rest
from tests.rig.discord_server.world import BOT_ID, World


def _token(number: int) -> str:
    """Return a bot token of the form of Discord's."""
    name = base64.b64encode(str(BOT_ID).encode()).decode().rstrip("=")
    return f"{name}.GabcdE.{number:038d}"


TOKEN = _token(0)
"""The bot token, until Discord resets it."""


@dataclass
class DiscordServer:
    """A small Discord that listens on the loopback interface.

    Attributes:
        world: Its servers, channels and members.
        gateway: Its gateway, with faults of connections.
        rest: Its REST API.
        token: The bot token that counts now.
        url: Its address.
        n_resets: How often Discord took the token away.
    """

    world: World
    gateway: Gateway
    rest: Rest
    token: str = TOKEN
    url: str = ""
    n_resets: int = 0

    @property
    def faults(self) -> Faults:
        """Scripted faults of requests."""
        return self.rest.faults

    @property
    def limits(self) -> Limits:
        """Limits of requests."""
        return self.rest.limits

    @property
    def budget(self) -> IdentifyBudget:
        """Limits of new sessions."""
        return self.gateway.budget

    def reset_token(self) -> None:
        """Make the token invalid, as Discord does after too many sessions in a day."""
        self.n_resets += 1
        self.token = _token(self.n_resets)


@asynccontextmanager
async def discord_server(
    *,
    shards: int = 1,
    budget: IdentifyBudget | None = None,
    limits: Limits | None = None,
    message_content: bool = True,
) -> AsyncIterator[DiscordServer]:
    """Serve a small Discord.

    Args:
        shards: The number of shards that it recommends, and that ``world.create_guild(shard_id=...)`` uses.
        budget: Limits of new sessions; None: Discord's.
        limits: Limits of requests; None: Discord's.
        message_content: Whether the application may read message content.

    Raises:
        AssertionError: The bot made requests that the server does not know. No test may pass because of them.
    """
    world, budget = World(shards=shards), budget or IdentifyBudget()
    gateway = Gateway(
        world,
        lambda: server.token,
        lambda: server.reset_token(),
        budget=budget,
        message_content=message_content,
    )
    rest = Rest(
        world,
        lambda: server.token,
        lambda: gateway.url,
        budget,
        shards=shards,
        message_content=message_content,
        limits=limits or Limits(),
    )
    server = DiscordServer(world, gateway, rest)
    world.backend.subscribers.append(gateway.emit)
    app = web.Application(client_max_size=32 * 1024**2)
    app.router.add_get("/", gateway.serve)
    app.router.add_route("*", PREFIX + "/{path:.*}", rest.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    try:
        await site.start()
        port = runner.addresses[0][1]
        server.url, gateway.url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/"
        yield server
    finally:
        await site.stop()
        await asyncio.sleep(0.05)  # a bot may be connecting: what is accepted after the end is never closed
        gateway.drop()
        here = runner.server.connections if runner.server is not None else []
        transports = [one.transport for one in here if one.transport is not None]
        await runner.cleanup()
        for transport in transports:  # what a client does not read would keep it open
            transport.abort()
        await asyncio.sleep(0)
    assert rest.missing == [], rest.missing


@contextmanager
def pointed_at(url: str) -> Iterator[None]:
    """Point discord.py of this process at a server: its two addresses are attributes of classes.

    Args:
        url: ``url`` of the server.
    """
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE = url + PREFIX
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url.replace("http", "ws", 1) + "/")
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before
