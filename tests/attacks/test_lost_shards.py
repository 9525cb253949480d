"""A process that loses its network: Discord and its locks at once, and a spare takes over meanwhile.

When the network is back, the connections that the first process was about to open must not be opened: the
session of before could be resumed beside the new one of the spare.
"""

from __future__ import annotations

import asyncio

import pytest

from bot.app.sharded_client import ShardedBot, _Connection
from bot.servers import shard_claims
from bot.servers.shard_claims import ShardClaims
from bot.settings import SPARE
from tests.rig.taking_over import cut_off, two_shards
from tests.rig.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture
async def here(settings, postgres, monkeypatch):
    monkeypatch.setattr(shard_claims, "FREE_S", 0.0)
    monkeypatch.setattr(shard_claims, "POLL_S", 0.2)
    async with two_shards(settings, postgres) as here:
        yield here


async def n_spoken_by_the_first(here, postgres, *, resumable: bool, database_first: bool) -> int:
    """Let a spare take over from a process without a network; return how often that one speaks again.

    Args:
        here: The Discord.
        postgres: The server of the database.
        resumable: Whether the sessions of before can be resumed; else the process would begin new ones.
        database_first: Whether the process reaches the database before Discord when the network is back.
    """
    gateway = here.server.gateway
    first, house, _ = await here.bot((0, 1))
    await until(lambda: first.shard_states()["ready"] == 2)
    spare, other, _ = await here.bot(SPARE)
    await until(lambda: spare.claims.waited)
    gateway.down = True
    gateway.drop() if resumable else gateway.invalidate()
    house.store.coordination._peers._first_wait_s = 1.0 if database_first else 6.0
    await cut_off(postgres, house)
    await until(lambda: len(spare._served) == 2)
    if database_first:
        await until(lambda: not first._served)
    gateway.down = False
    await until(lambda: spare.shard_states()["ready"] == 2, at_most_s=60)
    await until(lambda: not first._served)
    await asyncio.sleep(3.0)  # discord.py would have tried again
    await asyncio.gather(here.ask(0), here.ask(1))
    await here.answered([1, 1])
    assert first.is_spare and await here.n_left(other) == 0
    return gateway.counted["resumed"] + len(here.server.budget.started) - 4 + len(gateway.connections) - 2


@pytest.mark.parametrize("database_first", [True, False], ids=["database first", "Discord first"])
@pytest.mark.parametrize("resumable", [True, False], ids=["resume", "identify"])
async def test_a_process_that_lost_its_shards_never_speaks_again(here, postgres, resumable, database_first):
    how = {"resumable": resumable, "database_first": database_first}
    assert await n_spoken_by_the_first(here, postgres, **how) == 0


@pytest.mark.parametrize("database_first", [True, False], ids=["database first", "Discord first"])
async def test_control_what_a_lost_shard_had_begun_goes_on(here, postgres, monkeypatch, database_first):
    async def keeps(*_: object) -> bool:
        return True

    monkeypatch.setattr(ShardClaims, "keeps", keeps)
    monkeypatch.setattr(ShardedBot, "is_connection", lambda *_: True)
    monkeypatch.setattr(_Connection, "_stop_connecting", lambda _: None)
    assert await n_spoken_by_the_first(here, postgres, resumable=True, database_first=database_first) > 0
