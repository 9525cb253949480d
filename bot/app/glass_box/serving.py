"""Serves the glass box on a loopback port: one static page, and a stream of server-sent events.

Every address starts with an access key. A request with another ``Host`` (DNS rebinding), from another origin
or without the key is refused. The page may load nothing from elsewhere, and the texts in it are inserted as
text. Only the playground opens it; nothing is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from bot.app.composition import House
from bot.app.glass_box.looking import Looker
from bot.app.glass_box.panels import GlassBox
from bot.tasks import Tasks
from storage.errors import StorageError

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
LOOK_EVERY_S = 1.0
"""Labels and consent are read this often while the page is open."""
ALIVE_EVERY_S = 10.0
"""A quiet stream carries a comment this often, which finds out that the page was closed."""
MOST_STREAMS = 8
FILES = {
    "": ("index.html", "text/html"),
    "glass-box.css": ("glass-box.css", "text/css"),
    "glass-box.js": ("glass-box.js", "text/javascript"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class GlassBoxServer:
    """The open page.

    Args:
        box: What it shows.

    Attributes:
        box: What it shows.
        url: Its address, with the access key; empty until it listens.
    """

    def __init__(self, box: GlassBox) -> None:
        self.box = box
        self.url = ""
        self._key = secrets.token_urlsafe(32)
        self._origins: dict[str, str] = {}
        self._files = {name: _read(file) for name, (file, _) in FILES.items()}
        self._n_streams = 0
        self._closing = False
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Serve the page on a free port."""
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [web.get("/{key}/events", self._events), web.get("/{key}/{file:[a-z.-]*}", self._file)]
        )
        application.on_response_prepare.append(_add_headers)
        runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            port = runner.addresses[0][1]
            self._origins = {f"{name}:{port}": f"http://{name}:{port}" for name in (HOST, "localhost")}
            self.url = f"http://{HOST}:{port}/{self._key}/"
            async with Tasks() as tasks:
                tasks.spawn(self._refresh(), name="glass-box")
                yield
        finally:
            self._closing = True
            await self._tell()
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse a request that does not come from the page itself or from its address.

        Raises:
            HTTPForbidden: It does not.
        """
        hosts, origin = request.headers.getall("Host", []), request.headers.get("Origin")
        ours = len(hosts) == 1 and hosts[0] in self._origins
        site, mode = request.headers.get("Sec-Fetch-Site"), request.headers.get("Sec-Fetch-Mode")
        from_elsewhere = site not in (None, "none", "same-origin") and mode != "navigate"
        key = request.path.partition("/")[2].partition("/")[0]
        if (
            not ours
            or from_elsewhere
            or (origin is not None and origin != self._origins[hosts[0]])
            or not hmac.compare_digest(key.encode(), self._key.encode())
        ):
            raise web.HTTPForbidden(text="Open the address that the playground printed.")
        return await handler(request)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["file"]
        if name not in FILES:
            raise web.HTTPNotFound
        return web.Response(text=self._files[name], content_type=FILES[name][1], charset="utf-8")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send the page's data now and whenever it changes, until the page is closed."""
        if self._n_streams >= MOST_STREAMS:
            raise web.HTTPServiceUnavailable(text=f"{MOST_STREAMS} pages are open; close one.")
        self._n_streams += 1
        self.box.changed.set()
        try:
            stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await stream.prepare(request)
            sent = ""
            with contextlib.suppress(ConnectionError):  # the page was closed
                while not self._closing:
                    page = await self._page_after(sent)
                    await stream.write(f"data: {page}\n\n".encode() if page != sent else b":\n\n")
                    sent = page
            return stream
        finally:
            self._n_streams -= 1

    async def _page_after(self, sent: str) -> str:
        """Wait until the data differ from ``sent`` and return them; return ``sent`` after a while without."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ALIVE_EVERY_S), self._news:
                await self._news.wait_for(lambda: self._closing or self.box.page not in ("", sent))
                return self.box.page or sent
        return sent

    async def _refresh(self) -> None:
        """Keep the page's data current: after each event, and regularly while a page is open."""
        changed = self.box.changed
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S if self._n_streams else None):
                    await changed.wait()
            changed.clear()
            try:
                await self.box.refresh()
            except StorageError as exc:
                log.warning("the glass box could not be refreshed (%s)", type(exc).__name__)
                await asyncio.sleep(LOOK_EVERY_S)
            await self._tell()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def open_glass_box(house: House) -> AsyncIterator[GlassBoxServer]:
    """Open a glass box on the parts of a bot, and close it at the end."""
    server = GlassBoxServer(connected(house))
    async with server.listening():
        yield server


def connected(house: House) -> GlassBox:
    """Return a glass box that sees the replies and rounds of a bot, and that forgets with its other parts."""
    box = GlassBox(Looker(house))
    house.parts.memory.register("glass box", box)
    house.parts.responder.observe(box)
    house.trainer.round_ended = box.round_ended
    return box


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)


def _read(file: str) -> str:
    return (Path(__file__).parent / "static" / file).read_text("utf-8")
