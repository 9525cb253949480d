"""The server in front of simcord's page: who may use it, and when an action is sent again."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.app.playing import front
from bot.app.playing.front import Front, renewed

KEY = {"X-Simcord-Capability": "key", "X-Simcord-Context": "p1"}
SETTLED: dict[str, Any] = {"rejected": False, "settlement": "settled", "diagnostics": []}


PUBLISHING: dict[str, Any] = {"error": {"code": "context-unavailable"}}
"""simcord's answer, with status 400, to an action that comes while it publishes its pages."""


def refused(code: str) -> dict[str, Any]:
    """Return a receipt of simcord that refuses an action."""
    return {"rejected": True, "settlement": "rejected", "diagnostics": [{"code": code}]}


def state(revision: int, buttons: tuple[str, ...] = ("Yes", "No"), **other: Any) -> dict[str, Any]:
    """Return a state of simcord's page with one message."""
    return {
        "publishedRevision": revision,
        "botGeneration": 1,
        "context": {"id": "p1", "generation": 1},
        "messages": {"7": {"components": [{"label": label} for label in buttons]}},
        **other,
    }


def click(revision: int, **other: Any) -> dict[str, Any]:
    """Return a click on a button of message 7."""
    bound = {"generation": 1, "bot_generation": 1, "published_revision": revision, "sequence": 1}
    return {"kind": "click", "target_id": "7", "control_key": "message:7:component:0", **bound, **other}


@dataclass
class Behind:
    """A server in simcord's place: scripted receipts, and the state that it publishes now."""

    now: dict[str, Any] = field(default_factory=lambda: state(1))
    receipts: deque[dict[str, Any]] = field(default_factory=deque)
    actions: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def act(self, request: web.Request) -> web.Response:
        self.actions.append(await request.json())
        self.headers.append(dict(request.headers))
        receipt = self.receipts.popleft() if self.receipts else SETTLED
        return web.json_response(receipt, status=400 if "error" in receipt else 200)

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response(self.now)

    async def index(self, request: web.Request) -> web.Response:
        return web.Response(text="<head><title>SimCord Preview</title></head>", content_type="text/html")


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Behind, str, aiohttp.ClientSession]]:
    """Open a front before a scripted server."""
    behind = Behind()
    app = web.Application()
    app.router.add_get("/", behind.index)
    app.router.add_get("/api/state", behind.tell)
    app.router.add_post("/api/pages", behind.tell)
    app.router.add_post("/api/action", behind.act)
    live = SimpleNamespace(state=lambda: {"writing": False})
    async with TestServer(app, host="127.0.0.1") as server, aiohttp.ClientSession() as browser:
        preview = SimpleNamespace(url=f"http://127.0.0.1:{server.port}/#key", capability="key")
        async with Front(preview, live, port=0) as page:  # type: ignore[arg-type]
            yield behind, page.url.removesuffix("/#key"), browser


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch):
    monkeypatch.setattr(front, "_AGAIN_AFTER_S", 0.001)
    monkeypatch.setattr(front, "_AGAIN_FOR_S", 0.3)


async def act(browser: aiohttp.ClientSession, url: str, action: dict[str, Any]) -> dict[str, Any]:
    """Send an action as the page does."""
    async with browser.post(f"{url}/api/action", json=action, headers=KEY) as answer:
        return await answer.json()


async def look(browser: aiohttp.ClientSession, url: str) -> None:
    """Read the state as the page does."""
    async with browser.get(f"{url}/api/state", headers=KEY) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("receipt", [refused("busy"), refused("stale-revision"), PUBLISHING], ids=str)
async def test_a_click_refused_for_a_moment_is_sent_again_for_the_present_state(receipt):
    async with served() as (behind, url, browser):
        await look(browser, url)
        behind.now = state(5)
        behind.receipts.extend([receipt, receipt])

        receipt = await act(browser, url, click(1))

    assert receipt == SETTLED
    assert behind.actions == [click(1), click(5), click(5)]


async def test_a_click_on_buttons_that_changed_is_not_made():
    async with served() as (behind, url, browser):
        await look(browser, url)
        behind.now = state(5, buttons=("Forget me", "No"))
        behind.receipts.append(refused("stale-revision"))

        receipt = await act(browser, url, click(1))

    assert receipt["rejected"]
    assert behind.actions == [click(1)]


async def test_control_without_the_look_at_the_buttons_another_one_would_be_pressed(monkeypatch):
    monkeypatch.setattr(front, "renewed", lambda action, then, now: {**action, "published_revision": 5})
    async with served() as (behind, url, browser):
        await look(browser, url)
        behind.now = state(5, buttons=("Forget me", "No"))
        behind.receipts.append(refused("stale-revision"))

        receipt = await act(browser, url, click(1))

    assert receipt == SETTLED


@pytest.mark.parametrize("code", ["validation-failed", "target-unavailable", "stale-context", "bad-envelope"])
async def test_a_click_that_can_never_succeed_is_not_repeated(code):
    async with served() as (behind, url, browser):
        await look(browser, url)
        behind.receipts.append(refused(code))

        receipt = await act(browser, url, click(1))

    assert receipt == refused(code)
    assert len(behind.actions) == 1


async def test_a_click_that_is_refused_for_ever_ends():
    async with served() as (behind, url, browser):
        await look(browser, url)
        behind.receipts.extend([refused("busy")] * 100_000)

        receipt = await act(browser, url, click(1))

    assert receipt == refused("busy")


async def test_a_click_that_simcord_took_is_sent_once_whatever_came_of_it():
    async with served() as (behind, url, browser):
        failed = {"rejected": False, "settlement": "failed", "diagnostics": [{"code": "busy"}]}
        behind.receipts.append(failed)

        receipt = await act(browser, url, click(1))

    assert receipt == failed
    assert len(behind.actions) == 1


@pytest.mark.parametrize(
    ("kind", "then", "now", "again"),
    [
        ("click", state(1), state(2), True),
        ("select", state(1), state(2), True),
        ("select", state(1), state(2, buttons=("Yes",)), False),
        ("click", {}, state(2), False),  # what the page showed is not known
        ("click", state(1), state(2, messages={}), False),  # the message is gone
        ("set_reaction", {}, state(2), True),
        ("send_message", {}, state(2), True),
        ("run_command", {}, state(2, context={"id": "p1", "generation": 2}), False),  # another viewer
        ("send_message", {}, state(2, botGeneration=2), False),
    ],
)
def test_what_is_sent_again(kind, then, now, again):
    action = click(1, kind=kind)
    expected = {**action, "published_revision": 2} if again else None

    assert renewed(action, then, now) == expected


async def test_the_page_has_our_script_and_mentions_of_commands_have_no_id():
    async with served() as (behind, url, browser):
        behind.now = state(
            1, text="</style:1234567890123> and </config set persona:42>, not <t:1:R> or </b:x>"
        )
        async with browser.get(url) as answer:
            page = await answer.text()
        async with browser.get(f"{url}/api/state", headers=KEY) as answer:
            shown = await answer.json()
        async with browser.get(f"{url}/playground/page.js") as answer:
            script = (answer.content_type, "simcordPreview" in await answer.text())

    assert "/playground/page.js" in page
    assert "Simpatico playground" in page
    assert shown["text"] == "/style and /config set persona, not <t:1:R> or </b:x>"
    assert script == ("text/javascript", True)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"X-Simcord-Capability": "guessed"},
        {"X-Simcord-Capability": ""},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/playground/live", "/playground/menu"])
async def test_other_sites_and_programs_without_the_key_are_refused(path, headers):
    async with served() as (_, url, browser):
        port = url.rsplit(":", 1)[1]
        sent = KEY | {name: value.replace("{port}", port) for name, value in headers.items()}
        method = "GET" if path.endswith("live") else "POST"
        async with browser.request(method, url + path, headers=sent, data=b"{}") as answer:
            status = answer.status

    assert status in (401, 403)


async def test_with_the_key_and_from_its_own_page_it_answers():
    async with served() as (behind, url, browser):
        async with browser.get(f"{url}/playground/live", headers=KEY | {"Origin": url}) as answer:
            told = await answer.json()
        async with browser.post(f"{url}/playground/menu", headers=KEY, data=b"[]") as answer:
            odd = answer.status
        async with browser.get(f"{url}/playground/../front.py") as answer:
            escaped = answer.status
        await act(browser, url, click(1))

    assert (told, odd, escaped) == ({"writing": False}, 400, 404)
    assert behind.headers[0]["X-Simcord-Capability"] == "key"
    assert "Origin" not in behind.headers[0]


async def test_states_of_pages_are_kept_only_for_a_bounded_time():
    shown = front._Shown()
    for page in range(100):
        for revision in range(10):
            shown.keep(f"p{page}", json.dumps(state(revision)).encode())

    assert len(shown._states) == front._MOST_PAGES
    assert {len(states) for states in shown._states.values()} == {front._MOST_STATES}
    assert shown.at("p99", 9) == state(9)
    assert shown.at("p99", 1) == shown.at("p0", 9) == {}
