"""The server of the keys accepts connections and never answers: one call fails, and other hosts go on.

A relay stands between one host and the server of its keys. It falls silent: packets are neither passed on nor
refused. A second host reaches that server directly, and writes meanwhile.

Control: the writer does not ask before it takes its lock; then the other host waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from storage.errors import DatabaseFailed
from storage.records import Consent
from storage.store import Store
from tests.rig.key_places import DATABASE, host, keys_at
from tests.rig.waiting import AT_MOST_S
from tests.unit.storage.given import ALICE, BOB, FIRST, posted, settings_in

T = TypeVar("T")
pytestmark = pytest.mark.slow
PATIENT_S = 60.0
"""Stands for the five seconds of the product, so that a slow machine changes nothing."""


class Wire:
    """A relay that can fall silent."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.passes = asyncio.Event()
        self.passes.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on, in both directions, while :attr:`passes` is set."""
        await self.passes.wait()
        answers, server = await asyncio.open_unix_connection(self._target)
        await asyncio.gather(self._pass_on(reader, server), self._pass_on(answers, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while block := await reader.read(65536):
                await self.passes.wait()
                writer.write(block)
        except ConnectionError:
            pass
        writer.close()


@asynccontextmanager
async def wired(url: str, folder: Path) -> AsyncIterator[tuple[Wire, str]]:
    """Open a relay to the server of ``url``; yields it and the address through it."""
    address, _, target = url.partition("host=")
    wire = Wire(Path(target) / ".s.PGSQL.5432")
    server = await asyncio.start_unix_server(wire.serve, folder / ".s.PGSQL.5432")
    yield wire, f"{address}host={folder}"
    wire.passes.set()
    server.close()


@pytest.fixture
async def hosts(tmp_path, postgres, monkeypatch):
    """A host whose keys are behind the wire, one that reaches them, and the wire."""
    monkeypatch.setattr("storage.keys.key_database.ANSWER_S", PATIENT_S)
    monkeypatch.setattr("storage.keys.key_answers.ANSWER_S", PATIENT_S)
    name = await postgres.fresh()
    (folder := tmp_path / "w").mkdir()
    async with (
        keys_at(DATABASE, settings_in(tmp_path, url=postgres.url(name)), lambda: postgres) as at,
        wired(at.settings.key_url, folder) as (wire, key_url),
        AsyncExitStack() as stack,
    ):
        here, there = (host(tmp_path / one, at) for one in ("here", "there"))
        first = await stack.enter_async_context(await Store.open(replace(here, key_url=key_url)))
        second = await stack.enter_async_context(await Store.open(there))
        await posted(first, ALICE, FIRST)
        await asyncio.sleep(0.2)  # the answer is not fresh any more
        yield first, second, wire
        wire.passes.set()
    await postgres.drop(name)


CALLS = {
    "consent": lambda store: store.consent.record(BOB),
    "forget": lambda store: store.privacy.forget(ALICE.user_id),
    "refusal": lambda store: store.privacy.refuse(BOB),
}


async def others_go_on(hosts, call: str, *, at_most_s: float = AT_MOST_S) -> None:
    """Check that a second host writes while a call of the first one waits for the server of its keys."""
    first, second, wire = hosts
    wire.passes.clear()
    waiting = asyncio.ensure_future(CALLS[call](first))
    await asyncio.sleep(0.3)
    written = asyncio.ensure_future(second.notes.put("heartbeat", ""))
    try:
        await asyncio.wait([waiting, written], timeout=at_most_s, return_when=asyncio.FIRST_COMPLETED)
        assert (written.done(), waiting.done()) == (True, False)
    finally:
        wire.passes.set()
        await asyncio.gather(waiting, written)


@pytest.mark.parametrize("call", CALLS)
async def test_a_silent_server_of_the_keys_stops_no_other_host(hosts, call):
    await others_go_on(hosts, call)


async def test_control_without_the_question_another_host_waits(hosts, monkeypatch):
    monkeypatch.setattr(hosts[0]._writer, "_before", None)

    with pytest.raises(AssertionError):
        await others_go_on(hosts, "consent", at_most_s=2.0)


async def test_calls_that_need_a_key_say_that_it_is_silent_and_change_nothing(hosts, monkeypatch):
    first, second, wire = hosts
    wire.passes.clear()
    monkeypatch.setattr("storage.keys.key_answers.ANSWER_S", 0.3)
    for call in CALLS.values():
        with pytest.raises(DatabaseFailed, match=r"key_url.*does not answer"):
            await call(first)
    await first.notes.put("heartbeat", "")  # what needs no key goes on

    monkeypatch.setattr("storage.keys.key_answers.ANSWER_S", PATIENT_S)
    assert await second.consent.of(ALICE) is Consent.AGREED
    assert await second.consent.of(BOB) is Consent.UNKNOWN
    assert (await second.privacy.summary(ALICE)).n_replies == 1
    wire.passes.set()
    assert (await repeated(lambda: first.privacy.forget(ALICE.user_id))).n_keys == 1
    assert (await second.privacy.summary(ALICE)).n_replies == 0


async def repeated(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until the question in the background has noticed the first answer."""
    async with asyncio.timeout(AT_MOST_S):
        while True:
            try:
                return await call()
            except DatabaseFailed:
                await asyncio.sleep(0.1)
