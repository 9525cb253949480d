"""P39, processes that lost their connections: they train again, and none works on under replaced keys.

A process that took the trainer's lock and could not write its fencing number asks for the number at its next
job. The write fails by a lost connection, or by a caller that is cancelled.

After a command that replaced keys, a process from before it writes nothing, so its health check is red.

Controls: without the count of takings, that process never trains again; without the note of the command, a
process from before it counts as healthy.
"""

# ruff: noqa: F401, F811 - the fixture `place` is imported
from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from storage.database.postgres_peers import PostgresPeers
from storage.errors import DatabaseFailed, KeyUnreadable
from storage.store import Store
from tests.promises.test_p39_running import COMMANDS, Place, place
from tests.unit.storage.given import ALICE, BOB

pytestmark = [pytest.mark.promise("P39"), pytest.mark.slow]


async def listens_again(store: Store) -> None:
    async with asyncio.timeout(20):
        while store.coordination._peers._driver is None:
            await asyncio.sleep(0.05)


async def by_a_lost_connection(place: Place, process: Store) -> None:
    with pytest.raises(DatabaseFailed):
        await process.coordination.lead()


async def by_a_cancelled_caller(place: Place, process: Store) -> None:
    peers = process.coordination._peers
    async with peers._asking:  # the lock is taken after the caller is gone
        asking = asyncio.create_task(process.coordination.lead())
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait([asking])
    async with asyncio.timeout(5):
        while not peers.leads:
            await asyncio.sleep(0.01)
    with suppress(DatabaseFailed):
        await process.notes.put("heartbeat", "")


FAILURES = [by_a_lost_connection, by_a_cancelled_caller]


async def trains_again(place: Place, failure) -> None:
    process = await place.process("gateway")
    assert process.coordination.leads
    await place.cut("gateway")
    async with asyncio.timeout(20):
        while process.coordination._peers.leads:
            await asyncio.sleep(0.01)
    await listens_again(process)
    await failure(place, process)
    assert not process.coordination.leads

    assert await process.coordination.lead()
    assert await process._writer.submit(process.coordination.require_lead)  # may store a round


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.__name__)
async def test_a_trainer_whose_number_failed_trains_at_its_next_job(place, failure):
    await trains_again(place, failure)


async def test_control_without_the_count_of_takings_it_never_trains_again(place, monkeypatch):
    monkeypatch.setattr(PostgresPeers, "n_taken", property(lambda _: 1, lambda *_: None), raising=False)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await trains_again(place, by_a_lost_connection)


KEY_COMMANDS = [name for name in COMMANDS if name != "move"]


async def is_refused(place: Place, folder: Path, command: str) -> None:
    """Run a command beside a process that lost its connections, which then may write nothing."""
    process = await place.process("gateway")
    place.away.add("gateway")
    await place.cut("gateway")
    await COMMANDS[command](place, folder)
    place.away.clear()
    with pytest.raises(DatabaseFailed):
        await process.notes.put("heartbeat", "")
    for _ in range(2):
        for call in (
            lambda: process.notes.put("heartbeat", ""),  # so that the health check is red
            lambda: process.consent.record(BOB),
            lambda: process.privacy.forget(ALICE.user_id),
        ):
            with pytest.raises(KeyUnreadable, match="start again"):
                await call()


@pytest.mark.parametrize("command", KEY_COMMANDS)
async def test_a_survivor_of_a_key_command_writes_nothing(place, tmp_path, command):
    await is_refused(place, tmp_path, command)


async def test_control_without_the_note_a_survivor_is_green(place, tmp_path, monkeypatch):
    monkeypatch.setattr("storage.maintenance.exclusive._note_change", lambda _: None)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await is_refused(place, tmp_path, "rotate-key")
