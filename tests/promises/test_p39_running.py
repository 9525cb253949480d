"""P39, running bots: on PostgreSQL no command that needs the bot stopped runs beside any process of it.

Each command that excludes bots (move, move of keys, restore of keys, rotation of a key from the environment)
is tried beside each layout of processes: one that answers, one that only trains, one that answers after the
trainer stopped or was killed, one that hears nothing. It is refused, and no row and no file changed. While
such a command runs, no process starts and no second command runs. A process that lost its connections
meanwhile writes nothing, and after a move it never does. A command that lost its own connection changes
nothing.

Control: connections do not take the lock of running bots; then a command runs beside a bot.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from storage.database.postgres import PostgresBackend
from storage.errors import AlreadyOpen, DatabaseFailed, StorageError
from storage.maintenance import restoring_keys
from storage.maintenance.backup import back_up_keys
from storage.maintenance.exclusive import exclude_bots, exclude_key_commands
from storage.maintenance.moving import move
from storage.maintenance.moving_keys import move_keys
from storage.maintenance.restoring_keys import restore_keys
from storage.maintenance.rotation import rotate
from storage.settings import StorageSettings
from storage.store import Store
from tests.rig.key_places import DATABASE, host, keys_at
from tests.unit.storage.given import ALICE, BOB, FIRST, posted, settings_in

pytestmark = [pytest.mark.promise("P39"), pytest.mark.slow]
WEEK = timedelta(days=7)
COMMAND = "needs the bot stopped"


class Place:
    """A database with its server, and the processes on it.

    Attributes:
        settings: Of the bot.
        keys_to: An empty database for keys.
        away: Names of processes that cannot reach the server.
    """

    def __init__(self, server: Any, name: str, settings: StorageSettings, keys_to: str) -> None:
        self._server, self._name = server, name
        self.settings, self.keys_to = settings, keys_to
        self.stack = AsyncExitStack()
        self.away: set[str] = set()

    async def process(self, name: str) -> Store:
        """Start a process, which :meth:`cut` finds by its name."""
        named = replace(self.settings, url=f"{self.settings.url}&application_name={name}")
        return await self.stack.enter_async_context(await Store.open(named))

    async def cut(self, name: str) -> None:
        """End all connections of a process at the server.

        With its name in :attr:`away` none comes back, as if the network between them were gone.
        """
        admin = await self._server.connect(self._name)
        of_it = "FROM pg_stat_activity WHERE application_name = $1"
        await admin.fetch(f"SELECT pg_terminate_backend(pid, 5000) {of_it}", name)
        await admin.close()

    async def rows(self) -> list[str]:
        """Return all rows of the data, and the names and sizes of the files of the keys."""
        admin = await self._server.connect(self._name)
        tables = await admin.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        found = [repr(await admin.fetch(f"SELECT * FROM {table} ORDER BY 1")) for (table,) in tables]
        await admin.close()
        return found + [
            f"{path.name} {path.read_bytes()!r}" for path in sorted(self.settings.key_dir.iterdir())
        ]


@pytest.fixture
async def place(tmp_path, postgres, monkeypatch):
    monkeypatch.setattr("storage.database.postgres._RUNNING_WAITS_S", (0.0, 0.1, 0.3))
    monkeypatch.setattr("storage.database.postgres_peers.FIRST_WAIT_S", 0.05)
    name, keys = await postgres.fresh(), await postgres.fresh(migrated=False)
    settings = settings_in(tmp_path, url=postgres.url(name))
    for variable in (settings.master_key_env, settings.master_key_env + "_NEXT"):
        monkeypatch.setenv(variable, base64.b64encode(os.urandom(32)).decode())
    place = Place(postgres, name, settings, postgres.url(keys))
    take_part = PostgresBackend._take_part

    def unless_away(backend: PostgresBackend, *connection: Any) -> None:
        if backend._settings.get("application_name") in place.away:
            raise DatabaseFailed("away")
        take_part(backend, *connection)

    monkeypatch.setattr(PostgresBackend, "_take_part", unless_away)
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
    await back_up_keys(settings, tmp_path / "saved")
    async with place.stack:
        yield place
    for one in (name, keys):
        await postgres.drop(one)


COMMANDS: dict[str, Callable[[Place, Path], Awaitable[object]]] = {
    "move": lambda place, _: move(place.settings, ""),
    "move --keys-to": lambda place, _: move_keys(place.settings, place.keys_to),
    "restore-keys": lambda place, folder: restore_keys(place.settings, folder / "saved", WEEK),
    "rotate-key": lambda place, _: rotate(place.settings),
}


async def gateway_alone(place: Place) -> None:
    await place.process("gateway")


async def trainer_alone(place: Place) -> None:
    trainer = await place.process("trainer")
    trainer.coordination.only_trains = True
    await trainer.coordination.lead()


async def hand_over(place: Place) -> tuple[Store, Store]:
    """Start a process that answers, and one that takes the training from it."""
    gateway, trainer = await place.process("gateway"), await place.process("trainer")
    trainer.coordination.only_trains = True
    taken = asyncio.create_task(trainer.coordination.lead())
    while not taken.done():
        await asyncio.sleep(0.05)
        await gateway.coordination.lead()
    assert (await taken, gateway.coordination.leads) == (True, False)
    return gateway, trainer


async def gateway_after_a_trainer_that_stopped(place: Place) -> None:
    _, trainer = await hand_over(place)
    await trainer.close()


async def gateway_after_a_trainer_that_was_killed(place: Place) -> None:
    _, trainer = await hand_over(place)
    trainer.coordination._peers._watch.cancel()  # so that it does not come back
    await place.cut("trainer")


async def gateway_that_hears_nothing(place: Place) -> None:
    gateway = await place.process("gateway")
    peers = gateway.coordination._peers
    peers._watch.cancel()
    await asyncio.wait([peers._watch])
    await peers._release()


LAYOUTS = [
    gateway_alone,
    trainer_alone,
    gateway_after_a_trainer_that_stopped,
    gateway_after_a_trainer_that_was_killed,
    gateway_that_hears_nothing,
]


async def all_are_refused(place: Place, folder: Path) -> None:
    before = await place.rows()
    for command in COMMANDS.values():
        with pytest.raises(AlreadyOpen, match=f"stop the bot|{COMMAND}"):
            await command(place, folder)
    assert await place.rows() == before


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
async def test_no_command_runs_beside_a_process(place, tmp_path, layout):
    await layout(place)

    await all_are_refused(place, tmp_path)


async def test_control_without_the_lock_of_running_bots_a_command_runs_beside_one(
    place, tmp_path, monkeypatch
):
    monkeypatch.setattr(PostgresBackend, "_take_part", lambda *_: None)
    await gateway_alone(place)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await all_are_refused(place, tmp_path)


async def test_a_gateway_trains_again_at_its_next_job_after_the_trainer_stopped(place):
    gateway, trainer = await hand_over(place)
    assert not await gateway.coordination.lead()
    await trainer.close()

    async with asyncio.timeout(10):  # the server frees the lock of a closed connection a moment later
        while not await gateway.coordination.lead():
            await asyncio.sleep(0.05)


async def test_while_a_command_runs_no_process_starts_and_no_second_command_runs(place, tmp_path):
    async with AsyncExitStack() as stack:
        alone = await exclude_bots(place.settings, stack)
        with pytest.raises(AlreadyOpen, match=COMMAND):
            await place.process("gateway")
        await all_are_refused(place, tmp_path)
        await alone.require()
    await place.process("gateway")


async def test_a_process_that_starts_or_listens_again_while_a_command_waits_goes_first(place, monkeypatch):
    monkeypatch.setattr("storage.database.postgres._RUNNING_WAITS_S", (0.0, 0.5, 0.5, 0.5, 0.5))
    gateway = await place.process("gateway")
    async with AsyncExitStack() as stack:
        waiting = asyncio.create_task(exclude_bots(place.settings, stack))
        await asyncio.sleep(0.2)
        gateway.coordination._peers._driver.terminate()
        await place.process("trainer")
        await gateway.close()

        with pytest.raises(AlreadyOpen, match="stop the bot"):
            await waiting


async def notices_the_loss(store: Store) -> None:
    """Fail one change, as the first one after a loss does."""
    with pytest.raises(DatabaseFailed):
        await store.notes.put("heartbeat", "")


async def test_a_process_that_lost_its_connections_writes_nothing_while_a_command_runs(place):
    gateway = await place.process("gateway")
    async with AsyncExitStack() as stack:
        place.away.add("gateway")
        await place.cut("gateway")
        await exclude_bots(place.settings, stack)
        place.away.clear()
        before = await place.rows()
        await notices_the_loss(gateway)
        for call in (
            lambda: gateway.consent.record(BOB),
            lambda: gateway.privacy.forget(ALICE.user_id),
            lambda: gateway.privacy.refuse(BOB),
            lambda: gateway.notes.put("pause", "yes"),
        ):
            with pytest.raises(AlreadyOpen, match=COMMAND):
                await call()
        assert await place.rows() == before
    await until_written(gateway)
    assert (await gateway.privacy.forget(ALICE.user_id)).n_keys == 1


async def until_written(store: Store) -> None:
    """Wait until the server has freed the lock of a command that ended."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await store.notes.put("pause", "yes")
            except AlreadyOpen:
                await asyncio.sleep(0.1)


async def test_a_process_that_lost_its_connections_during_a_move_never_writes_to_the_old_place(place):
    gateway = await place.process("gateway")
    place.away.add("gateway")
    await place.cut("gateway")
    await move(place.settings, "")
    place.away.clear()
    before = await place.rows()
    await notices_the_loss(gateway)

    for call in (
        lambda: gateway.consent.record(BOB),
        lambda: gateway.privacy.forget(ALICE.user_id),
        lambda: gateway.notes.put("pause", "yes"),
    ):
        with pytest.raises(StorageError, match="were moved to"):
            await call()
    assert await place.rows() == before


async def test_a_command_that_lost_its_connection_changes_nothing(place, tmp_path, monkeypatch):
    def lost(moment: str) -> None:
        if moment == "restore.checked":
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, place.cut("simpatico")).result()

    monkeypatch.setattr(restoring_keys, "failpoint", lost)
    before = await place.rows()

    with pytest.raises(DatabaseFailed, match="keeps bots out was lost; repeat the command"):
        await restore_keys(place.settings, tmp_path / "saved", WEEK)

    assert [one for one in await place.rows() if "lock" not in one] == before


async def test_commands_on_two_hosts_that_share_the_keys_exclude_each_other(tmp_path, postgres):
    async with keys_at(DATABASE, settings_in(tmp_path), lambda: postgres) as at, AsyncExitStack() as stack:
        here, there = (host(tmp_path / name, at) for name in ("here", "there"))
        async with await Store.open(here) as store:
            await posted(store, ALICE, FIRST)
        await exclude_key_commands(here, stack)

        for command in (rotate(there), move_keys(there, "")):
            with pytest.raises(AlreadyOpen, match="Another command changes the keys"):
                await command
