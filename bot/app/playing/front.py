"""Web server of the playground: simcord's page with what a newcomer misses in it.

simcord serves a page to inspect a bot. This server stands in front of it and passes everything on, with four
changes:

* its own script and style sheet join the page (``static/page.js``, ``static/page.css``);
* an action that simcord refused because the page was a moment old, or because another action was running, is
  sent again;
* mentions of commands are shown by name, where Discord shows them so and simcord shows an id;
* ``/playground/...`` answers what the script asks for (:mod:`bot.app.playing.live`).

It listens on 127.0.0.1 only. It refuses requests from the pages of other sites, and requests without the
access key of simcord's page.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import simcord
from aiohttp import web
from cachetools import LRUCache

from bot.app.playing.live import Live, MenuRefused

_COMMAND_MENTION = re.compile(rb'</([^:\n"<>]{1,100}):\d{1,20}>')
_REVISION = re.compile(rb'"publishedRevision": ?(\d+)')
_STATIC = {"page.js": "text/javascript", "page.css": "text/css"}
_TAGS = (
    b'<link rel="stylesheet" href="/playground/page.css">'
    b'<script type="module" src="/playground/page.js"></script></head>'
)
_HOP_BY_HOP = frozenset(
    {"connection", "content-encoding", "content-length", "date", "server", "transfer-encoding"}
)
_PASSED_ON = ("Content-Type", "X-Simcord-Capability", "X-Simcord-Context")

_REFUSED_FOR_NOW = frozenset({"busy", "stale-revision"})
"""Reasons of simcord that pass: another action runs, or the page shows an older state."""
_AGAIN_AFTER_S, _AGAIN_FOR_S = 0.1, 10.0
_ACTION_S = 180.0
"""Longest time for one request to simcord, seconds; simcord itself waits up to 120 s for the bot."""
_LAST_ANSWERS_S = 1.0
"""Longest time that the end of the playground waits for requests, seconds."""
_MOST_BODY = 27 * 1024 * 1024
_MOST_PAGES, _MOST_STATES = 20, 4
"""Pages whose states are kept, and how many states of each."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """simcord's answer to one request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_json(self) -> bool:
        """Whether the body is JSON."""
        return self.headers.get("Content-Type", "").startswith("application/json")

    def refused_for_now(self) -> bool:
        """Return whether simcord refused an action for a reason that passes.

        While simcord publishes its pages it takes no action: it answers 400 before it looks at the action.
        """
        if self.status == 400 and self.is_json:
            return True
        receipt = json.loads(self.body) if self.status == 200 and self.is_json else {}
        codes = {item.get("code") for item in receipt.get("diagnostics", [])}
        return receipt.get("rejected") is True and bool(codes & _REFUSED_FOR_NOW)

    def response(self) -> web.Response:
        """Return the answer for the browser."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        body = _COMMAND_MENTION.sub(rb"/\1", self.body) if self.is_json else self.body
        return web.Response(status=self.status, headers=headers, body=body)


class _Shown:
    """The last states that each open page was given; tells what a click was meant for."""

    def __init__(self) -> None:
        self._states: LRUCache[str, deque[tuple[int, bytes]]] = LRUCache(maxsize=_MOST_PAGES)

    def keep(self, context: str, body: bytes) -> None:
        """Keep a state that goes to a page."""
        if (found := _REVISION.search(body)) is None:
            return
        states = self._states.get(context) or deque(maxlen=_MOST_STATES)
        if not states or states[-1][0] != int(found[1]):
            states.append((int(found[1]), body))
        self._states[context] = states

    def at(self, context: str, revision: object) -> dict[str, Any]:
        """Return the state of a page at a revision; empty if it is not kept."""
        for number, body in self._states.get(context, ()):
            if number == revision:
                return json.loads(body)
        return {}


def renewed(
    action: Mapping[str, Any], then: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return a refused action for the present state, or None if it would do something else there.

    Args:
        action: The action as the page sent it.
        then: State that the page showed when the action was chosen; empty if unknown.
        now: Present state.
    """
    bound = {
        "generation": now.get("context", {}).get("generation"),
        "bot_generation": now.get("botGeneration"),
    }
    if any(action.get(name) != value for name, value in bound.items()):
        return None  # another viewer, or another part of the history
    kind, target = action.get("kind"), str(action.get("target_id"))
    if kind in ("click", "select"):  # simcord finds a button by its place, where another one may be now
        before = then.get("messages", {}).get(target, {}).get("components")
        if before is None or now.get("messages", {}).get(target, {}).get("components") != before:
            return None
    return {**action, "published_revision": now.get("publishedRevision")}


class Front:
    """The server. Use it with ``async with``; ``url`` is the address of the page.

    Args:
        preview: simcord's page.
        live: What the script of the page asks for.
        port: Port on 127.0.0.1, 0 for a free one.
    """

    def __init__(self, preview: simcord.Preview, live: Live, *, port: int) -> None:
        self._preview, self._live, self._wanted_port = preview, live, port
        self._shown = _Shown()
        self._behind = f"http://127.0.0.1:{urlsplit(preview.url).port}"
        self._port = 0

    @property
    def url(self) -> str:
        """Address of the page; contains its access key."""
        return f"http://127.0.0.1:{self._port}/#{self._preview.capability}"

    async def __aenter__(self) -> Self:
        """Open the port.

        Raises:
            OSError: The port cannot be opened.
        """
        app = web.Application(client_max_size=_MOST_BODY, middlewares=[self._guard])
        app.router.add_get("/", self._index)
        app.router.add_get("/playground/live", self._tell)
        app.router.add_post("/playground/menu", self._use_menu)
        app.router.add_get("/playground/{name}", self._static)
        app.router.add_post("/api/action", self._act)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ACTION_S))
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=False, shutdown_timeout=_LAST_ANSWERS_S
        )
        try:
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", self._wanted_port).start()
        except BaseException:
            await self.__aexit__()
            raise
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the port."""
        await self._runner.cleanup()
        await self._client.close()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse other names of this machine (DNS rebinding) and the pages of other sites."""
        hosts = {f"{name}:{self._port}" for name in ("127.0.0.1", "localhost")}
        if self._port == 80:
            hosts |= {"127.0.0.1", "localhost"}  # browsers leave the usual port out
        origin = request.headers.get("Origin")
        if request.host not in hosts or (origin is not None and urlsplit(origin).netloc not in hosts):
            raise web.HTTPForbidden
        return await handler(request)

    def _authorize(self, request: web.Request) -> None:
        """Refuse a request without the access key, as simcord does for its own paths."""
        if request.headers.get("X-Simcord-Capability") != self._preview.capability:
            raise web.HTTPUnauthorized

    async def _ask(self, request: web.Request, *, path: str = "", body: bytes | None = None) -> _Answer:
        """Send a request on to simcord, or another one in its name."""
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        method = "GET" if path else request.method
        try:
            async with self._client.request(
                method, self._behind + (path or request.path_qs), headers=headers, data=body
            ) as answer:
                return _Answer(answer.status, dict(answer.headers), await answer.read())
        except aiohttp.ClientError as exc:
            raise web.HTTPBadGateway(text="the playground is closing") from exc

    async def _pass_on(self, request: web.Request) -> web.Response:
        answer = await self._ask(request, body=await request.read() or None)
        if answer.status == 200 and answer.is_json and request.path in ("/api/state", "/api/pages"):
            self._shown.keep(_page_of(request, answer), answer.body)
        return answer.response()

    async def _index(self, request: web.Request) -> web.Response:
        answer = await self._ask(request)
        page = answer.body.replace(b"SimCord Preview", b"Simpatico playground").replace(b"</head>", _TAGS, 1)
        return _Answer(answer.status, answer.headers, page).response()

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _STATIC:
            raise web.HTTPNotFound
        text = files("bot.app.playing").joinpath("static", name).read_text(encoding="utf-8")
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return web.Response(text=text, content_type=_STATIC[name], headers=headers)

    async def _act(self, request: web.Request) -> web.Response:
        """Send an action on, and send it again while simcord refuses it for a reason that passes."""
        body = await request.read()
        answer = await self._ask(request, body=body)
        deadline = asyncio.get_running_loop().time() + _AGAIN_FOR_S
        while answer.refused_for_now() and asyncio.get_running_loop().time() < deadline:
            if not request.content_type.startswith("application/json"):
                break  # files: the page keeps them, and the member presses again
            await asyncio.sleep(_AGAIN_AFTER_S)
            action, context = json.loads(body), request.headers.get("X-Simcord-Context", "")
            if not isinstance(action, dict):
                break
            state = await self._ask(request, path="/api/state")
            then = self._shown.at(context, action.get("published_revision"))
            again = renewed(action, then, json.loads(state.body)) if state.status == 200 else None
            if again is None:
                break
            answer = await self._ask(request, body=json.dumps(again).encode())
        return answer.response()

    async def _tell(self, request: web.Request) -> web.Response:
        self._authorize(request)
        return web.json_response(self._live.state(), headers={"Cache-Control": "no-store"})

    async def _use_menu(self, request: web.Request) -> web.Response:
        self._authorize(request)
        try:
            asked = json.loads(await request.read())
            name, message, viewer = str(asked["menu"]), int(asked["message_id"]), int(asked["viewer_id"])
        except (KeyError, TypeError, ValueError) as exc:
            raise web.HTTPBadRequest(text="expected menu, message_id and viewer_id") from exc
        try:
            await self._live.use_menu(name, message, viewer)
        except MenuRefused as exc:
            return web.json_response({"refused": str(exc)}, status=409)
        return web.json_response({})


def _page_of(request: web.Request, answer: _Answer) -> str:
    """Return the id of the page that asked; a new page gets its id with this answer."""
    if request.path == "/api/pages":
        return str(json.loads(answer.body).get("context", {}).get("id", ""))
    return request.headers.get("X-Simcord-Context", "")
