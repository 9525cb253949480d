"""An HTTP proxy on the loopback interface: records what it is asked, and passes on to loopback servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@dataclass
class Proxy:
    """A proxy.

    Attributes:
        routes: Host -> loopback port that takes its place; every other host is refused.
        refusal: Status of a refusal.
        asked: The requests: method and host with port.
        credentials: The ``Proxy-Authorization`` headers.
        port: Where it listens.
    """

    routes: dict[str, int] = field(default_factory=dict)
    refusal: int = 502
    asked: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def hosts(self) -> set[str]:
        return {line.split()[1].rpartition(":")[0] for line in self.asked}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection: a tunnel, or plain requests to one host."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.decode().split("\r\n")[0].split()
            host, _, port = (target if method == "CONNECT" else urlsplit(target).netloc + ":80").rpartition(
                ":"
            )
            host = host.partition(":")[0]
            self.asked.append(f"{method} {host}:{port}")
            self.credentials += [
                line.partition(": ")[2]
                for line in head.decode().split("\r\n")
                if line.startswith("Proxy-Auth")
            ]
            if host not in self.routes:
                writer.write(f"HTTP/1.1 {self.refusal} No\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            await self._pass_on(reader, writer, host, b"" if method == "CONNECT" else head)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, head: bytes
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.routes[host])
        if head:
            back.write(head)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            back.close()


async def _pipe(source: asyncio.StreamReader, drain: asyncio.StreamWriter) -> None:
    while block := await source.read(1 << 16):
        drain.write(block)
        await drain.drain()
    drain.close()


@asynccontextmanager
async def proxying(**options: object) -> AsyncIterator[Proxy]:
    """Yield a running proxy."""
    proxy = Proxy(**options)  # type: ignore[arg-type]
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.current_task())  # type: ignore[arg-type]
        with suppress(asyncio.CancelledError):  # the end of the test
            await proxy.serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
