"""Shards over real sockets: a killed process, two processes with the same shards, and a lost lock.

The process that is killed (``kill -9``) is one of its own. The one that takes over is a house in this
process, so that the figures hold no time of a start.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from bot.app.health import proofs_of
from bot.servers import shard_claims
from bot.settings import SPARE
from tests.rig.discord_server.bot_process import bot_process
from tests.rig.size import sized
from tests.rig.taking_over import AT_MOST_S, Here, cut_off, two_shards
from tests.rig.waiting import until


@pytest.fixture
async def here(settings, postgres):
    async with two_shards(settings, postgres) as here:
        yield here


@asynccontextmanager
async def victim(here: Here, tmp_path):
    """Start a process with both shards."""
    storage = here.settings.storage
    config = tmp_path / "config.toml"
    config.write_text(
        f'[storage]\nurl = "{storage.url}"\ndata_dir = "{storage.data_dir}"\nkey_dir = "{storage.key_dir}"\n'
    )
    given = {"SIMPATICO_SHARD_COUNT": "2", "SIMPATICO_SHARD_IDS": "0,1"}
    async with bot_process(here.server, config, **given) as process:
        yield process


async def test_after_a_kill_a_spare_answers_what_came_meanwhile_within_a_minute(
    here, tmp_path, record_property
):
    async with victim(here, tmp_path) as process:
        await until(lambda: len(here.server.gateway.sessions) == 2, at_most_s=240)
        await asyncio.gather(here.ask(0), here.ask(1))
        await here.answered([1, 1])
        spare, house, _ = await here.bot(SPARE)
        await until(lambda: spare.claims.waited)
        assert spare.is_spare and await proofs_of(spare, house.scheduler)["gateway"]()
        assert not spare.owns(here.homes[0][0].id)

        began = time.monotonic()
        process.kill()
        await process.wait()
        await asyncio.gather(here.ask(0), here.ask(1))
        await here.answered([2, 2])
        took_s = time.monotonic() - began

    record_property("takeover_s", took_s)
    print(f"a spare answered {took_s:.1f} s after the kill")
    assert took_s < AT_MOST_S
    assert spare.owns(here.homes[0][0].id) and spare.owns(here.homes[1][0].id)
    assert await here.n_left(house) == 0


@pytest.mark.skipif(sized(ci=1, full=0), reason="two more starts of a process; make attack SIZE=full")
async def test_after_a_kill_a_restart_with_the_same_shards_answers_within_a_minute(here, tmp_path):
    async with victim(here, tmp_path) as process:
        await until(lambda: len(here.server.gateway.sessions) == 2, at_most_s=240)
        await asyncio.gather(here.ask(0), here.ask(1))
        await here.answered([1, 1])
        began = time.monotonic()
        process.kill()
        await process.wait()
    async with victim(here, tmp_path):
        await asyncio.gather(here.ask(0), here.ask(1))
        await here.answered([2, 2])
        took_s = time.monotonic() - began

    print(f"a restart answered {took_s:.1f} s after the kill")
    assert took_s < AT_MOST_S


async def test_a_second_process_with_the_same_shards_connects_none_until_the_first_ends(here):
    first, _, stop = await here.bot((0, 1))
    await until(lambda: len(first.shards) == 2)
    second, _, _ = await here.bot((0, 1))
    await until(lambda: second.claims.waited)
    await asyncio.gather(here.ask(0), here.ask(1))
    await here.answered([1, 1])

    assert second.is_spare and not second.shards
    assert len(here.server.budget.started) == 2  # sessions
    began = time.monotonic()
    await stop()
    await asyncio.gather(here.ask(0), here.ask(1))
    await here.answered([2, 2])
    print(f"a second process answered {time.monotonic() - began:.1f} s after the stop")
    assert len(second.shards) == 2


async def test_a_process_whose_lock_was_taken_disconnects_and_no_prompt_is_answered_twice(
    here, monkeypatch, postgres
):
    monkeypatch.setattr(shard_claims, "FREE_S", 0.0)
    monkeypatch.setattr(shard_claims, "POLL_S", 0.2)
    first, house, _ = await here.bot((0, 1))
    await until(lambda: len(first.shards) == 2)
    spare, other, _ = await here.bot(SPARE)
    await until(lambda: spare.claims.waited)
    house.store.coordination._peers._first_wait_s = 3.0  # so that the spare sees the locks free
    await cut_off(postgres, house)
    await until(lambda: len(spare.shards) == 2)
    await until(lambda: not first.shards)
    await asyncio.gather(here.ask(0), here.ask(1))
    await here.answered([1, 1])

    assert len(here.server.gateway.sessions) == 2
    assert first.is_spare and await here.n_left(other) == 0


async def test_processes_with_different_numbers_of_shards_answer_each_prompt_once(here, caplog):
    """As during an upgrade to more shards, while the old process still runs."""
    old, house, _ = await here.bot((0,), count=1)
    await until(lambda: old.shard_states()["ready"] == 1)
    new, _, _ = await here.bot((0, 1))
    await until(lambda: new.shard_states()["ready"] == 2)
    await asyncio.gather(here.ask(0), here.ask(1))
    await here.answered([1, 1])

    assert "other processes have shard_count = 1" in caplog.text
    assert await here.n_left(house) == 0


async def test_after_a_loss_of_the_network_each_shard_resumes_its_session(here):
    bot, _, _ = await here.bot((0, 1))
    await until(lambda: bot.shard_states()["ready"] == 2)
    n_read_back = bot.reconciler.n_outages
    gateway = here.server.gateway
    gateway.down = True
    gateway.drop()
    await asyncio.gather(here.ask(0), here.ask(1))
    await until(lambda: bot.shard_states()["connecting"] == 2)
    await asyncio.sleep(0.5)
    gateway.down = False
    await here.answered([1, 1])

    assert gateway.counted["resumed"] == 2
    assert len(here.server.budget.started) == 2  # no further session
    assert bot.reconciler.n_outages == n_read_back
