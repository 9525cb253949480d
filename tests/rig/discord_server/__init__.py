"""A small Discord on the loopback interface: gateway and REST API for the real discord.py, over sockets.

The state, the routes and the payloads are simcord's. This package adds what a network adds: sockets, sessions
with sequence numbers, shards, limits, and faults. One server serves any number of shards and processes.

* :mod:`.world`: servers, channels and members; tests act through it as with simcord's ``Env``.
* :mod:`.sessions`: what one shard has been sent, kept for a RESUME.
* :mod:`.gateway`: WebSocket connections, opcodes and close codes.
* :mod:`.rest`: HTTP requests to simcord's routes; nonces.
* :mod:`.limits`: rate-limit buckets, the global limit, the identify budget.
* :mod:`.faults`: refused, delayed and lost answers.
* :mod:`.living`: the real bot in this process, logged in on it.
* :mod:`.bot_process`: the bot in a process of its own.
"""

from __future__ import annotations

from tests.rig.discord_server.limits import IdentifyBudget, Limits, Rate
from tests.rig.discord_server.server import TOKEN, DiscordServer, discord_server, pointed_at
from tests.rig.discord_server.world import BOT_ID, World

__all__ = [
    "BOT_ID",
    "TOKEN",
    "DiscordServer",
    "IdentifyBudget",
    "Limits",
    "Rate",
    "World",
    "discord_server",
    "pointed_at",
]
