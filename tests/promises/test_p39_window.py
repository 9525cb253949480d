"""P39, processes that lost connections: each connection of a process counts as the process.

A process has five kinds of connections: it writes, reads, reads in bulk, listens, and carries counts. Any of
them may be lost, and each comes back in its own time. While the process has one of them, no command that
needs the bot stopped runs. While such a command runs, the process gets none back: it reads nothing, writes
nothing and hears nothing. After a command that replaced keys or moved the data it reads nothing either.

Controls: only the connection that writes counts; then a command runs beside a process that listens and reads.
Only that connection is checked after a loss; then a process reads data that were moved away.
"""

# ruff: noqa: F401, F811 - the fixture `place` is imported
from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from storage.database.postgres import PostgresBackend
from storage.errors import AlreadyOpen, StorageError
from storage.maintenance.exclusive import exclude_bots
from storage.store import Store
from tests.promises.test_p39_running import COMMANDS, Place, all_are_refused, place
from tests.promises.test_p39_survivors import listens_again
from tests.rig.size import sized
from tests.unit.storage.given import ALICE

pytestmark = [pytest.mark.promise("P39"), pytest.mark.slow]

SESSIONS = "FROM pg_stat_activity WHERE application_name = 'gateway'"


async def reads(store: Store) -> None:
    await store.consent.of(ALICE)


async def reads_in_bulk(store: Store) -> None:
    await store.learning.feedback_of([store.member_id(ALICE)])


async def writes(store: Store) -> None:
    await store.notes.put("heartbeat", "")


USES: list[Callable[[Store], Awaitable[None]]] = [reads, reads_in_bulk, writes]


async def sessions_of(place: Place) -> list[int]:
    """Return the sessions of the process that wait for its next statement, in a drawn order."""
    admin = await place._server.connect(place._name)
    found = await admin.fetch(f"SELECT pid {SESSIONS} AND state = 'idle' ORDER BY random()")
    await admin.close()
    return [one["pid"] for one in found]


async def end(place: Place, sessions: list[int]) -> None:
    admin = await place._server.connect(place._name)
    for pid in sessions:
        await admin.fetch("SELECT pg_terminate_backend($1, 5000)", pid)
    await admin.close()


async def a_command_that_listens_again_finds(place: Place, folder: Path) -> None:
    process = await place.process("gateway")
    await place.cut("gateway")
    await listens_again(process)

    await all_are_refused(place, folder)


async def test_a_process_that_listens_again_counts_before_it_writes(place, tmp_path):
    await a_command_that_listens_again_finds(place, tmp_path)


def only_the_one_that_writes(backend: PostgresBackend, engine: AsyncEngine) -> AsyncEngine:
    if backend._writing is None:
        event.listen(engine.sync_engine, "connect", backend._take_part)
    return engine


async def test_control_without_the_lock_of_those_that_listen_a_command_runs(place, tmp_path, monkeypatch):
    monkeypatch.setattr(PostgresBackend, "_taking_part", only_the_one_that_writes)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await a_command_that_listens_again_finds(place, tmp_path)


async def runs_beside(place: Place, process: Store) -> bool:
    """Run a command; return whether it was not refused. Then the process can use nothing."""
    async with AsyncExitStack() as stack:
        try:
            await exclude_bots(place.settings, stack)
        except AlreadyOpen:
            return False
        place.away.clear()
        before = await place.rows()
        for use in USES:
            with pytest.raises(StorageError):
                await use(process)
        assert process.coordination._peers._driver is None  # it hears nothing
        assert await place.rows() == before
    return True


@pytest.mark.parametrize("seed", range(sized(ci=2, full=20)))
async def test_after_drawn_losses_a_command_runs_only_beside_a_process_without_connections(
    place, seed, monkeypatch
):
    monkeypatch.setattr("storage.database.postgres._RUNNING_WAITS_S", (0.0, 0.05))
    rng = random.Random(seed)
    process = await place.process("gateway")
    for turn in range(sized(ci=6, full=60)):
        for use in rng.sample(USES, rng.randint(0, 3)):
            with suppress(StorageError):
                await use(process)
        sessions = await sessions_of(place)
        lost = rng.randint(0, len(sessions))
        expected = {True, False} if lost == len(sessions) else {False}  # some may be back already
        if turn % 3 == 0:
            place.away.add("gateway")
            await place.cut("gateway")
            expected = {True}
        await end(place, sessions[:lost])
        after = [asyncio.create_task(use(process)) for use in rng.sample(USES, rng.choice((0, 0, 1)))]
        await asyncio.sleep(rng.choice((0, 0, 0.02, 0.5)))
        assert await runs_beside(place, process) in expected
        await asyncio.gather(*after, return_exceptions=True)
        await listens_again(process)


async def carries_counts(place: Place) -> bool:
    admin = await place._server.connect(place._name)
    found = await admin.fetchval(f"SELECT count(*) {SESSIONS} AND query LIKE '%told%'")
    await admin.close()
    return bool(found)


async def test_after_a_command_that_kept_it_out_a_process_shares_its_counts_again(place, monkeypatch):
    monkeypatch.setattr("storage.database.postgres_board.FIRST_WAIT_S", 0.05)
    process = await place.process("gateway")
    board = process.tallies._board
    await process.tallies.share()
    place.away.add("gateway")
    await place.cut("gateway")
    async with AsyncExitStack() as stack:
        await exclude_bots(place.settings, stack)
        place.away.clear()
        await asyncio.sleep(1.0)  # it is refused meanwhile
        assert not board._task.done()
    async with asyncio.timeout(20):
        while not await carries_counts(place):
            await asyncio.sleep(0.05)


async def survives(place: Place, folder: Path, command: str) -> None:
    """Run a command beside a process without connections, which then may neither read nor write."""
    process = await place.process("gateway")
    place.away.add("gateway")
    await place.cut("gateway")
    await COMMANDS[command](place, folder)
    place.away.clear()
    with suppress(StorageError):  # the first use after a loss fails
        await writes(process)
    for use in USES:
        with pytest.raises(StorageError, match=r"start again|were moved to"):
            await use(process)


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_survivor_of_a_command_reads_nothing(place, tmp_path, command):
    await survives(place, tmp_path, command)


async def test_control_without_a_check_of_readers_a_survivor_reads_moved_data(place, tmp_path, monkeypatch):
    monkeypatch.setattr(PostgresBackend, "before_using", PostgresBackend.before_writing)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await survives(place, tmp_path, "move")
