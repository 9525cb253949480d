"""Locks of shards on a real PostgreSQL server: after any interleaving each process holds what it says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from storage.database.shard_locks import _OWN, READY, SERVED, SharedShards, _number_of
from storage.errors import DatabaseFailed
from storage.records import Shard
from tests.rig.size import sized

pytestmark = pytest.mark.slow

SHARDS = [Shard(number, 3) for number in range(3)]


class Process:
    """A process: its locks, and the connection that holds them."""

    def __init__(self, open_connection: Callable, kind: type[SharedShards] = SharedShards) -> None:
        self._open, self.shards = open_connection, kind()
        self.connection: Any = None
        self.ready: set[Shard] = set()

    async def connect(self, role: str = "") -> None:
        connection, asking = await self._open(), asyncio.Lock()

        async def ask(query: str, *values: object):
            async with asking:
                try:
                    await asyncio.sleep(0)
                    return await connection.fetchval(query, *values)
                except Exception as exc:
                    raise DatabaseFailed("lost") from exc

        if role:
            await connection.execute(f"SET ROLE {role}")
        self.connection = connection
        await self.shards.connect(ask)

    def lose(self, *, noticed: bool) -> None:
        """Lose the connection. ``noticed``: the server notices as well; else its session goes on."""
        self.shards.disconnect()
        if noticed and self.connection is not None:
            self.connection.terminate()

    async def act(self, rng: random.Random) -> None:
        """Do one drawn thing with a drawn shard."""
        shard = rng.choice(SHARDS)
        match rng.choice(("serve", "ready", "ready", "down", "down", "settle")):
            case "serve":
                await self.shards.serve(shard)
            case "settle":
                await self.shards.settle()
            case "ready":
                self.ready.add(shard)
                await self.shards.ready(shard)
            case _:
                self.ready.discard(shard)
                await self.shards.down(shard)


@pytest.fixture
async def processes(postgres):
    name = await postgres.fresh(migrated=False)
    async with AsyncExitStack() as stack:

        async def opened():
            connection = await postgres.connect(name)
            stack.callback(connection.terminate)
            return connection

        yield lambda kind=SharedShards: Process(opened, kind)
    await postgres.drop(name)


async def held(process: Process, kind: int) -> set[int]:
    """Return the numbers of the locks that the session of a process holds."""
    numbers = await process.connection.fetchval(_OWN, kind)
    return set(numbers or ())


async def differences(both: list[Process], seed: int) -> list[object]:
    """Live through drawn interleavings; return where the locks differ from what a process says."""
    rng = random.Random(seed)
    for one in both:
        await one.connect()
    for _ in range(sized(ci=12, full=200)):
        victim = rng.choice(both)
        acting = [asyncio.create_task(rng.choice(both).act(rng)) for _ in range(rng.randint(0, 4))]
        if rng.random() < 0.6:
            await asyncio.sleep(rng.choice((0, 0, 0.002)))
            victim.lose(noticed=rng.random() < 0.5)
            acting.append(asyncio.create_task(victim.connect()))
            for _ in range(rng.randint(1, 4)):
                await asyncio.sleep(rng.choice((0, 0.001, 0.002)))
                acting.append(asyncio.create_task(victim.act(rng)))
        for task in acting:
            with suppress(DatabaseFailed):
                await task
    await asyncio.sleep(0.1)  # the server frees the locks of connections that were closed
    for one in both:
        await one.shards.settle()
    found: list[object] = []
    for one in both:
        served = {_number_of(shard) for shard in SHARDS if one.shards.serves(shard)}
        ready = {_number_of(shard) for shard in one.ready}
        found += [await held(one, SERVED) ^ served, await held(one, READY) ^ ready]
    return [one for one in found if one]


@pytest.mark.parametrize("seed", range(sized(ci=4, full=100)))
async def test_after_any_interleaving_a_process_holds_what_it_says(processes, seed):
    assert await differences([processes(), processes()], seed) == []


class AsBefore(SharedShards):
    """Takes the locks in a walk over a copy, and changes them beside it."""

    async def connect(self, ask) -> None:
        for shard in sorted(self._ready, key=_number_of):
            await ask("SELECT pg_advisory_lock_shared($1, $2)", READY, _number_of(shard))
        self._ask = ask

    async def settle(self) -> None:
        pass

    async def ready(self, shard: Shard) -> None:
        if shard not in self._ready:
            self._ready.add(shard)
            if self._ask is not None:
                await self._ask("SELECT pg_advisory_lock_shared($1, $2)", READY, _number_of(shard))

    async def down(self, shard: Shard) -> None:
        if shard in self._ready:
            self._ready.discard(shard)
            if self._ask is not None:
                await self._ask("SELECT pg_advisory_unlock_shared($1, $2)", READY, _number_of(shard))


async def stale_after_a_blip(process: Process) -> set[int]:
    """A shard goes down while its process reconnects; return the locks that are left of it."""
    await process.connect()
    for shard in SHARDS:
        await process.shards.ready(shard)
    process.lose(noticed=True)
    connecting = asyncio.create_task(process.connect())
    while process.connection.is_closed():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await process.shards.down(SHARDS[2])
    await connecting
    return await held(process, READY) & {_number_of(SHARDS[2])}


async def test_a_shard_that_goes_down_during_a_reconnect_keeps_no_lock(processes):
    assert await stale_after_a_blip(processes()) == set()


async def test_control_a_walk_over_a_copy_keeps_it(processes):
    assert await stale_after_a_blip(processes(AsBefore)) != set()


async def test_a_blip_costs_no_shard_although_the_server_still_has_the_old_session(processes):
    first, second = processes(), processes()
    await first.connect()
    await second.connect()
    assert [await first.shards.serve(shard) for shard in SHARDS[:2]] == [True, True]
    assert await second.shards.serve(SHARDS[2])
    for _ in range(2):
        first.lose(noticed=False)
        await first.connect()

    assert [first.shards.serves(shard) for shard in SHARDS] == [True, True, False]
    assert await held(first, SERVED) == {_number_of(shard) for shard in SHARDS[:2]}
    assert not await second.shards.serve(SHARDS[0])


async def test_a_shard_that_another_process_took_is_lost(processes):
    first, second = processes(), processes()
    await first.connect()
    await second.connect()
    assert await first.shards.serve(SHARDS[0])
    first.lose(noticed=True)
    async with asyncio.timeout(30):
        while not await second.shards.serve(SHARDS[0]):
            await asyncio.sleep(0.01)
    await first.connect()

    assert not first.shards.serves(SHARDS[0])


async def test_control_without_an_end_of_the_old_session_a_blip_costs_the_shard(processes, monkeypatch):
    monkeypatch.setattr("storage.database.shard_locks._END_SESSION", "SELECT $1::bigint = $2::bigint")
    monkeypatch.setattr("storage.database.shard_locks.GHOST_S", 0.0)
    first = processes()
    await first.connect()
    assert await first.shards.serve(SHARDS[0])
    first.lose(noticed=False)
    await first.connect()

    assert not first.shards.serves(SHARDS[0])


MANY = [Shard(number, 200) for number in range(200)]
REFUSED = "SELECT 1 / ($1::bigint - $1::bigint) + $2::bigint"
"""In place of the statement that ends a session: fails, as it does without the permission."""


async def beside_its_old_session(process: Process, other: Process) -> Any:
    """Reconnect a process whose old session keeps the locks of its shards, but for three of another process.

    Returns:
        The connection of the old session.
    """
    await process.connect()
    await other.connect()
    for shard in MANY:
        assert await process.shards.serve(shard)
    old = process.connection
    process.lose(noticed=False)
    for shard in MANY[:3]:
        await old.fetchval("SELECT pg_advisory_unlock($1, $2)", SERVED, _number_of(shard))
        assert await other.shards.serve(shard)
    async with asyncio.timeout(5):
        await process.connect()
    return old


async def test_an_old_session_that_cannot_be_ended_delays_no_connection(processes, monkeypatch):
    monkeypatch.setattr("storage.database.shard_locks._END_SESSION", REFUSED)
    process, other = processes(), processes()
    old = await beside_its_old_session(process, other)

    assert [process.shards.serves(shard) for shard in MANY] == 3 * [False] + 197 * [True]
    assert await process.shards.served() is None  # nothing is certain yet
    old.terminate()
    async with asyncio.timeout(20):
        while (served := await process.shards.served()) is None:
            await asyncio.sleep(0.05)
    assert served == set(MANY)
    assert await held(process, SERVED) == {_number_of(shard) for shard in MANY[3:]}


class OneByOne(SharedShards):
    """Waits for each lock on its own, as before."""

    async def _take_again(self, ask, numbers):
        for number in numbers:
            for _ in range(20):
                if await SharedShards._take_again(self, ask, [number]):
                    break
                await asyncio.sleep(0.05)
        return True


async def test_control_waiting_for_each_lock_delays_the_connection(processes, monkeypatch):
    monkeypatch.setattr("storage.database.shard_locks._END_SESSION", REFUSED)

    with pytest.raises(TimeoutError):
        await beside_its_old_session(processes(OneByOne), processes())


ROLES = ["pg_monitor", "pg_signal_backend"]
"""The first sees when a session began, the second does not; both may not end one of a superuser."""


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_that_may_not_end_sessions_of_its_log_in_waits_for_them(processes, role):
    process = processes()
    await process.connect(role=role)  # as "options=-c role=..." in an address does
    assert await process.shards.serve(SHARDS[0])
    old = process.connection
    process.lose(noticed=False)
    await process.connect(role=role)

    assert process.shards.serves(SHARDS[0])
    old.terminate()
    async with asyncio.timeout(20):
        while await process.shards.served() is None:
            await asyncio.sleep(0.05)
    assert await held(process, SERVED) == {_number_of(SHARDS[0])}
