"""Other pages, programs and machines reach for the glass box, which shows what members wrote."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from bot.app.glass_box.looking import Look
from bot.app.glass_box.panels import GlassBox
from bot.app.glass_box.serving import FILES, MOST_STREAMS, GlassBoxServer
from tests.rig.waiting import AT_MOST_S

FORBIDDEN = {403}


class Nothing:
    """Looks at nobody."""

    async def look(self, viewers, replies, last) -> Look:
        return Look((), {}, {}, {})


@asynccontextmanager
async def serving():
    server = GlassBoxServer(GlassBox(Nothing()))
    async with server.listening():
        yield server


@asynccontextmanager
async def connection(port: int, path: str, *headers: str, method: str = "GET"):
    """Send a request byte by byte as written, and yield what answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write("\r\n".join([f"{method} {path} HTTP/1.1", *headers, "", ""]).encode("latin-1"))
        await writer.drain()
        async with asyncio.timeout(AT_MOST_S):
            yield reader
    finally:
        writer.close()
        await writer.wait_closed()


async def answer(
    port: int, path: str, *headers: str, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer."""
    async with connection(port, path, *headers, "Connection: close", method=method) as reader:
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


def place_of(server: GlassBoxServer) -> tuple[int, str, str]:
    """Return port, path with the key, and the right Host header."""
    parts = urlsplit(server.url)
    assert parts.port
    return parts.port, parts.path, f"Host: {parts.netloc}"


async def statuses(server: GlassBoxServer, headers_of, path_of=lambda path: path) -> set[int]:
    """Ask for every file and for the stream, and return all statuses."""
    port, path, _ = place_of(server)
    return {
        (await answer(port, path_of(path) + name, *headers_of(port)))[0]
        for name in (*FILES, "events", "none")
    }


HOSTS = [
    lambda port: [f"Host: attacker.example:{port}"],
    lambda port: ["Host: attacker.example"],
    lambda port: [f"Host: 127.0.0.1.attacker.example:{port}"],
    lambda port: ["Host: 127.0.0.1"],
    lambda port: [f"Host: 127.0.0.1:{port + 1}"],
    lambda port: [f"Host: 0.0.0.0:{port}"],
    lambda port: [f"Host: localhost.:{port}"],
    lambda port: [f"Host: 127.0.0.1:{port}@attacker.example"],
    lambda port: ["Host: "],
]
ORIGINS = [
    lambda port: [f"Host: 127.0.0.1:{port}", "Origin: https://attacker.example"],
    lambda port: [f"Host: 127.0.0.1:{port}", "Origin: null"],
    lambda port: [f"Host: 127.0.0.1:{port}", f"Origin: http://127.0.0.1:{port + 1}"],
    lambda port: [f"Host: 127.0.0.1:{port}", f"Origin: https://127.0.0.1:{port}"],
    lambda port: [f"Host: 127.0.0.1:{port}", f"Origin: http://localhost:{port}"],
    lambda port: [f"Host: 127.0.0.1:{port}", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"],
    lambda port: [f"Host: 127.0.0.1:{port}", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors"],
]


@pytest.mark.parametrize("headers_of", [*HOSTS, *ORIGINS])
async def test_another_host_or_origin_is_refused_everywhere_even_with_the_key(headers_of):
    async with serving() as server:
        assert await statuses(server, headers_of) == FORBIDDEN


@pytest.mark.parametrize(
    "path_of",
    [
        lambda path: "/",
        lambda path: "//",
        lambda path: "/" + "A" * 43 + "/",
        lambda path: path[:-2] + "/",
        lambda path: path[:-1] + "A/",
        lambda path: path.swapcase(),
        lambda path: "/\u00e9/",
        lambda path: "/x/.." + path,
        lambda path: "/glass-box.js?key=" + path.strip("/"),
    ],
)
async def test_without_the_key_everything_is_refused(path_of):
    async with serving() as server:
        found = await statuses(server, lambda port: [f"Host: 127.0.0.1:{port}"], path_of)

    assert found <= {400, 403}


async def test_two_host_headers_and_none_are_refused():
    async with serving() as server:
        port, path, host = place_of(server)
        twice = await answer(port, path, host, "Host: attacker.example")
        bare = await answer(port, path)

    assert {twice[0], bare[0]} <= {400, 403}


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_nothing_can_be_sent_to_it(method):
    async with serving() as server:
        port, path, host = place_of(server)
        status, headers, _ = await answer(port, path, host, "Content-Length: 0", method=method)

    assert status == 405
    assert not any(name.startswith("Access-Control") for name in headers)


async def test_with_the_key_the_page_opens_by_both_names_and_from_a_link():
    async with serving() as server:
        port, path, host = place_of(server)
        links = [host, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"]
        found = [
            (await answer(port, path, *headers))[0]
            for headers in (
                [host],
                [f"Host: localhost:{port}"],
                links,
                [host, f"Origin: http://127.0.0.1:{port}"],
            )
        ]

    assert found == [200, 200, 200, 200]


async def test_every_answer_forbids_to_load_or_to_run_anything_from_elsewhere():
    async with serving() as server:
        port, path, host = place_of(server)
        answers = [await answer(port, path + name, host) for name in (*FILES, "none")]
        answers.append(await answer(port, "/", host))
        stream = await first_of_stream(server)

    for headers in [*(one[1] for one in answers), stream[0]]:
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert "frame-ancestors 'none'" in policy and "require-trusted-types-for 'script'" in policy
        assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(stream[1]) == {"viewers": [], "replies": [], "notes": []}


async def first_of_stream(server: GlassBoxServer) -> tuple[dict[str, str], str]:
    """Return headers and first data of the stream."""
    port, path, host = place_of(server)
    async with connection(port, path + "events", host) as reader:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        data = (await reader.readuntil(b"\n\n")).decode().split("data: ")[1]
    return dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:]), data


def test_the_page_itself_names_no_other_host_and_writes_no_html():
    server = GlassBoxServer(GlassBox(Nothing()))
    texts = "".join(server._files.values())

    assert "//" not in texts.replace("// ", "")
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "style=",
        "onclick",
    ):
        assert sink not in texts


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 exists on Linux only")
async def test_it_listens_on_the_loopback_address_only():
    async with serving() as server:
        port = place_of(server)[0]
        with socket.socket(socket.AF_INET6) as other, pytest.raises(OSError):
            other.connect(("::1", port))
        with socket.socket() as other:
            other.bind(("127.0.0.2", port))  # free: the page listens on 127.0.0.1, not on all addresses


async def test_the_key_is_new_each_time_and_too_long_to_guess():
    async with serving() as one, serving() as another:
        keys = [place_of(server)[1].strip("/") for server in (one, another)]

    assert keys[0] != keys[1]
    assert all(len(key) >= 43 for key in keys)  # 32 random bytes


async def test_a_crowd_of_pages_is_bounded_and_a_stop_does_not_wait_for_them():
    async with serving() as server, asyncio.timeout(AT_MOST_S):
        port, path, host = place_of(server)
        opened = [connection(port, path + "events", host) for _ in range(MOST_STREAMS + 1)]
        heads = [await (await one.__aenter__()).readuntil(b"\r\n") for one in opened]
        started = asyncio.get_running_loop().time()
    took_s = asyncio.get_running_loop().time() - started
    for one in opened:
        await one.__aexit__(None, None, None)

    assert [int(head.split()[1]) for head in heads] == [200] * MOST_STREAMS + [503]
    assert took_s < 10  # aiohttp waits a minute by default


async def test_control_a_page_without_its_guard_answers_a_stranger(monkeypatch):
    async def let_in(self, request, handler):
        return await handler(request)

    let_in.__middleware_version__ = 1  # what aiohttp's decorator sets
    monkeypatch.setattr(GlassBoxServer, "_guard", let_in)
    async with serving() as server:
        port, path, _ = place_of(server)
        assert (await answer(port, path, "Host: attacker.example"))[0] == 200
        assert (await answer(port, "/wrong/", "Host: attacker.example"))[0] == 200
