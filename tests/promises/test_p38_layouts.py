"""P38: no layout of shards and processes deletes data.

A server counts as left by Discord's own word, or when it is missing in the complete lists of the shards that
own it, in two sessions, while every shard of the bot is ready. The proof draws histories: processes start in
any order and with any number of shards, die, hand shards over, lose sessions, get cut or empty lists, and the
clock jumps. After each step no server that the bot is in counts as left. At the end of each history, what was
really left counts as left.

Controls: the comparison with the latest list of one process, as earlier versions made it; a list that is not
compared with Discord's other one; absence that counts while a shard is not ready.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select

from storage.coordination import Coordination
from storage.database.schema import departures, seen_servers
from storage.privacy.departures import Departures, cancel_departure, record_departure
from storage.privacy.server_lists import record_seen
from storage.records import ServerList, Shard, Who
from storage.settings import StorageSettings
from storage.store import Store
from tests.fakes import FixedClock
from tests.rig import layouts
from tests.rig.layouts import Discord
from tests.rig.size import sized
from tests.unit.storage.given import settings_in

pytestmark = pytest.mark.promise("P38")

STEPS = sized(ci=40, full=400)
HISTORIES = sized(ci=3, full=100)
GONE = 4 << 22


async def wrongly_left(folder, seed: int) -> set[int]:
    """Live through a drawn history; return servers that counted as left although the bot is in them."""
    clock = FixedClock()
    async with await Store.open(settings_in(folder), now=clock) as store:
        discord = Discord(store, clock, random.Random(seed))
        try:
            return await lived(discord)
        finally:
            await discord.close()


async def lived(discord: Discord) -> set[int]:
    for _ in range(12):
        await discord.join()
    await discord.change_layout(2)
    for _ in range(STEPS):
        await discord.step()
        await discord.calm()
        marked = await discord.marked()
        if wrong := marked - discord.gone - discord.untold:
            return wrong
        assert discord.heard <= marked, "Discord said that these were left"
    known = await discord.seen() | await discord.marked()
    await settle(discord)
    assert await discord.seen() == discord.here
    assert known & discord.gone == await discord.marked()
    return set()


async def settle(discord: Discord) -> None:
    """Let every shard of one layout have three whole sessions, while Discord answers over REST."""
    discord.answers, discord.storage.fails = 1.0, 0.0
    await discord.patience()
    await discord.change_layout(3)
    for _ in range(3):
        for process in discord.processes:
            for shard_id in process.ids:
                await discord.session(process, shard_id)
                await discord.calm()


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_no_history_of_layouts_makes_a_server_count_as_left(tmp_path, seed):
    assert await wrongly_left(tmp_path, seed) == set()


async def test_absence_counts_in_two_sessions_of_the_owner_and_only_if_all_shards_are_ready(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        assert await when_marked(store) == "the other shard is ready"


async def when_marked(store: Store) -> str:
    """Tell shard 0 of 2 three times that its server is gone, then let shard 1 become ready."""
    own, other = Shard(0, 2), Shard(1, 2)
    await store.consent.record(Who(GONE, 1))

    async def listed(shard: Shard, session: str, *guild_ids: int) -> bool:
        await store.departures.record_list(lambda: ServerList(shard, session, frozenset(guild_ids)))
        rows = await store._reader.run(lambda c: c.execute(select(departures.c.guild)).all())
        return bool(rows)

    await store.coordination.shards.ready(own)
    await listed(own, "first", GONE)
    for session in ("second", "second", "third", "third", "fourth"):
        if await listed(own, session):
            return f"{session} session"
    await store.coordination.shards.ready(other)
    return "the other shard is ready" if await listed(other, "own first") else "never"


async def test_a_server_missing_once_or_twice_in_one_session_was_not_left(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await store.coordination.shards.ready(Shard(1, 2))
        assert await when_marked(store) == "third session"


async def test_control_a_shard_that_is_down_does_not_hold_it_back(tmp_path, monkeypatch):
    monkeypatch.setattr(Coordination, "all_ready", lambda *_: True)
    async with await Store.open(settings_in(tmp_path)) as store:
        assert await when_marked(store) == "third session"


async def latest_list_of_one_process(self: Departures, read: Callable[[], ServerList | None]) -> bool:
    """Compare as earlier versions did: what the latest list of any process lacks was left."""
    listed = read()
    if listed is None:
        return False
    present = self._present(listed.guild_ids, 1)

    def compare(connection) -> None:
        known = set(connection.execute(select(seen_servers.c.guild)).scalars())
        for guild in sorted(known - present.keys()):
            record_departure(connection, guild, self._clock.now())
        for guild in present:
            cancel_departure(connection, guild)
        record_seen(connection, present)

    await self._writer.submit(compare)
    return True


async def misses_nothing(*_: object) -> bool:
    return False


OFF = {
    "the latest list of one process counts": {
        "record_list": latest_list_of_one_process,
        "misses": misses_nothing,
    },
    "Discord's other list is not asked": {"misses": misses_nothing},
}


@pytest.mark.parametrize("switched_off", OFF.values(), ids=OFF)
async def test_control_some_history_makes_a_server_count_as_left(tmp_path, monkeypatch, switched_off):
    for name, method in switched_off.items():
        monkeypatch.setattr(Departures, name, method)
    monkeypatch.setattr(layouts, "KINDS", (*layouts.KINDS, *["empty"] * 20))  # else it takes many histories

    for seed in range(10):
        if await wrongly_left(tmp_path / str(seed), seed):
            return
    pytest.fail("no server counted as left")


@pytest.fixture
async def two_hosts(tmp_path, postgres):
    """Two processes on one database, each with its own connection."""
    name = await postgres.fresh()
    settings = StorageSettings(
        data_dir=tmp_path / "data", key_dir=tmp_path / "keys", group_commit_ms=1, url=postgres.url(name)
    )
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await Store.open(settings)) for _ in range(2)]
    await postgres.drop(name)


async def test_a_process_that_dies_or_loses_its_connection_takes_the_readiness_with_it(two_hosts):
    first, second = two_hosts

    async def all_ready() -> bool:
        return await first._reader.run(lambda c: first.coordination.all_ready(c, 2))

    await first.coordination.shards.ready(Shard(0, 2))
    assert not await all_ready()
    await second.coordination.shards.ready(Shard(1, 2))
    assert await all_ready()
    await first.coordination.shards.ready(Shard(0, 3))  # a process with another number of shards
    assert not await all_ready()
    await first.coordination.shards.down(Shard(0, 3))
    assert await all_ready()
    peers = second.coordination._peers
    peers._first_wait_s = 0.0
    peers._driver.terminate()
    await until_not(all_ready)
    await until(all_ready)  # it takes its locks again when it is back
    await second.close()

    assert not await all_ready()


async def until(holds, wanted: bool = True) -> None:
    async with asyncio.timeout(30):
        while await holds() is not wanted:
            await asyncio.sleep(0.01)


async def until_not(holds) -> None:
    await until(holds, wanted=False)
