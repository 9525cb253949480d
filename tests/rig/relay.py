"""A relay between a bot and PostgreSQL that makes the bot's listening connection deaf, in several ways.

It stands for a firewall that dropped a connection and for a pooler that swallows notifications. Connections
that do not listen pass unchanged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
_HEADER = 5
_NOTIFICATION = b"A"


class Line(Enum):
    """What happens to connections that listen."""

    OPEN = auto()
    SWALLOWS = auto()
    """Notifications of the server are dropped; all else passes."""
    FROZEN = auto()
    """Nothing passes, and nothing is closed."""
    CLOSED = auto()
    """Connections are closed, and so is each that begins to listen."""


class Relay:
    """Passes connections on to the socket ``target``, as :attr:`line` says."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._line = Line.OPEN
        self._flows = asyncio.Event()
        self._flows.set()
        self._listening: set[asyncio.StreamWriter] = set()

    @property
    def line(self) -> Line:
        """What happens to connections that listen, from now on."""
        return self._line

    @line.setter
    def line(self, line: Line) -> None:
        self._line = line
        (self._flows.clear if line is Line.FROZEN else self._flows.set)()
        if line is Line.CLOSED:
            for client in self._listening:
                client.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Pass one connection on until an end closes it."""
        answers, server = await asyncio.open_unix_connection(self._target)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask(reader, server, client))
                tasks.create_task(self._answer(answers, client))
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._listening.discard(client)
            for end in (client, server):
                end.transport.abort()

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while block := await reader.read(65536):
            if b"LISTEN" in block and b"UNLISTEN" not in block:
                self._listening.add(client)
                if self._line is Line.CLOSED:
                    break
            if client in self._listening:
                await self._flows.wait()
            server.write(block)
            await server.drain()
        raise ConnectionResetError  # ends the other direction

    async def _answer(self, answers: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while True:
            header = await answers.readexactly(_HEADER)
            body = await answers.readexactly(int.from_bytes(header[1:], "big") + 1 - _HEADER)
            if client in self._listening:
                await self._flows.wait()
            if header[:1] == _NOTIFICATION and self._line is Line.SWALLOWS:
                continue
            client.write(header + body)
            await client.drain()


@asynccontextmanager
async def relayed(url: str, folder: Path) -> AsyncIterator[tuple[Relay, str]]:
    """Open a relay to the server of ``url``; yields it and the address through it.

    Args:
        url: Address with ``host=`` and the folder of the server's socket at its end.
        folder: Where the relay's socket is made.
    """
    address, _, target = url.partition("host=")
    relay = Relay(Path(target) / SOCKET)
    server = await asyncio.start_unix_server(relay.serve, folder / SOCKET)
    try:
        yield relay, f"{address}host={folder}"
    finally:
        server.close()
