"""Sessions are claimed in turn by all processes, and a crash loop does not use up those of a day."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from bot.servers.identify_budget import APART_S, GatewayLimits, IdentifyBudget
from storage.errors import DatabaseFailed
from storage.settings import StorageSettings
from storage.store import Store
from tests.fakes import FixedClock
from tests.unit.storage.given import settings_in

HOUR_S, DAY_S = 3_600.0, 86_400.0


class Gateway:
    """Discord's counter of sessions, and a time that passes only while a process waits.

    Args:
        total: Sessions of a day.
        concurrency: Number of buckets.
    """

    def __init__(self, total: int = 1000, concurrency: int = 1) -> None:
        self.clock = FixedClock()
        self.total, self.concurrency = total, concurrency
        self._began, self._resets_at = self.clock(), self.clock() + timedelta(seconds=DAY_S)
        self.used = 0

    @property
    def passed_s(self) -> float:
        return (self.clock() - self._began).total_seconds()

    async def limits(self) -> GatewayLimits:
        left_s = (self._resets_at - self.clock()).total_seconds()
        remaining = self.total - self.used
        return GatewayLimits(1, self.total, remaining, left_s, self.concurrency)

    async def sleep(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)

    async def identify(self, budget: IdentifyBudget, shard_id: int) -> None:
        await budget.wait(shard_id)
        self.used += 1

    def budget(self, store: Store) -> IdentifyBudget:
        return IdentifyBudget(store.identifies, self.limits, self.sleep)


async def test_shards_of_one_bucket_wait_for_each_other_and_those_of_others_do_not(tmp_path):
    gateway = Gateway(concurrency=2)
    async with await Store.open(settings_in(tmp_path), now=gateway.clock) as store:
        budget = gateway.budget(store)
        times = []
        for shard_id in range(6):
            await gateway.identify(budget, shard_id)
            times.append(round(gateway.passed_s, 3))

    assert times == [0, 0, APART_S, APART_S, 2 * APART_S, 2 * APART_S]


async def used_by_a_crash_loop(folder) -> int:
    """Return how many sessions a bot uses that crashes after every start, for a day."""
    gateway = Gateway(total=100)
    async with await Store.open(settings_in(folder), now=gateway.clock) as store:
        while gateway.used < 150 and gateway.passed_s < DAY_S - 60:
            await gateway.identify(gateway.budget(store), 0)  # every start is a new process
    return gateway.used


async def test_a_crash_loop_does_not_use_up_the_sessions_of_a_day(tmp_path):
    assert 50 < await used_by_a_crash_loop(tmp_path) <= 100


async def test_control_without_discords_counter_a_crash_loop_uses_them_up(tmp_path, monkeypatch):
    async def unknown(_: Gateway) -> GatewayLimits:
        return GatewayLimits()

    monkeypatch.setattr(Gateway, "limits", unknown)

    assert await used_by_a_crash_loop(tmp_path) == 150  # of 100; it would go on


class Steady:
    """Seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(budget: IdentifyBudget) -> float:
    """Return what ``/metrics`` shows; -1: unknown."""
    return -1 if math.isnan(budget.left) else budget.left


async def test_the_sessions_that_are_left_are_unknown_after_discord_reset_its_counter():
    """A process that resumes its session for weeks does not show the figure of its first day."""
    answers: list[GatewayLimits | None] = [GatewayLimits(remaining=290, reset_s=3 * HOUR_S)]
    steady = Steady()

    async def ask() -> GatewayLimits | None:
        return answers.pop() if answers else None

    budget = IdentifyBudget(None, ask, clock=steady)  # type: ignore[arg-type] - it claims nothing
    seen = [shown(budget)]
    for _ in range(4):
        await budget.look()
        seen.append(shown(budget))
        steady.now += HOUR_S

    assert seen == [-1, 290, 290, 290, -1]


async def test_an_answer_without_a_reset_ahead_counts_for_a_day():
    """Discord has none before the first session; its number of buckets counts all the same."""
    steady, answer = Steady(), GatewayLimits(remaining=1000, reset_s=0.0, concurrency=16)

    async def ask() -> GatewayLimits | None:
        return answer

    budget = IdentifyBudget(None, ask, clock=steady)  # type: ignore[arg-type] - it claims nothing
    await budget.look()
    at_once = budget.limits
    steady.now = DAY_S

    assert (at_once, shown(budget)) == (answer, -1)


async def test_a_process_that_stays_connected_shows_the_sessions_that_another_one_uses_up(tmp_path):
    gateway = Gateway()
    async with await Store.open(settings_in(tmp_path), now=gateway.clock) as store:
        steady, restarts = gateway.budget(store), gateway.budget(store)
        await gateway.identify(steady, 0)
        gateway.used += 800
        await gateway.identify(restarts, 1)
        before = steady.left
        await steady.look()

        assert (before, steady.left) == (1000, 198)


async def test_without_an_answer_the_latest_one_spreads_the_sessions(tmp_path):
    gateway = Gateway(total=100)
    gateway.used = 95
    async with await Store.open(settings_in(tmp_path), now=gateway.clock) as store:
        answers = [await gateway.limits(), None, None, None]

        async def ask() -> GatewayLimits | None:
            return answers.pop(0)

        budget = IdentifyBudget(store.identifies, ask, gateway.sleep)
        await budget.wait(0)
        await budget.wait(0)

        assert gateway.passed_s == pytest.approx(DAY_S / 5)


@pytest.mark.parametrize("jump", [-4000, 4000])
async def test_a_clock_that_jumps_delays_a_session_by_one_interval_at_most(tmp_path, jump):
    gateway = Gateway()
    async with await Store.open(settings_in(tmp_path), now=gateway.clock) as store:
        await gateway.identify(gateway.budget(store), 0)
        gateway.clock.advance(days=jump)
        before = gateway.clock()
        await store.identifies.claim(0, apart_s=APART_S, all_apart_s=0.0)
        await gateway.sleep(await store.identifies.claim(0, apart_s=APART_S, all_apart_s=0.0))

        assert gateway.clock() - before <= timedelta(seconds=APART_S)


async def test_a_database_that_is_lost_during_a_claim_delays_the_session(tmp_path, caplog):
    gateway = Gateway()
    async with await Store.open(settings_in(tmp_path), now=gateway.clock) as store:
        claim, failures = store.identifies.claim, [DatabaseFailed("gone"), DatabaseFailed("gone")]

        async def sometimes(*args, **kwargs) -> float:
            if failures:
                raise failures.pop()
            return await claim(*args, **kwargs)

        store.identifies.claim = sometimes
        await gateway.identify(gateway.budget(store), 0)

        assert gateway.passed_s == 2 * APART_S
        assert await claim(0, apart_s=60.0, all_apart_s=0.0) > 0  # claimed once
    assert caplog.text.count("shard 0 waits for the database before it connects: gone") == 2


@pytest.fixture
async def two_hosts(tmp_path, postgres):
    name = await postgres.fresh()
    settings = StorageSettings(
        data_dir=tmp_path / "data", key_dir=tmp_path / "keys", group_commit_ms=1, url=postgres.url(name)
    )
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(await Store.open(settings)) for _ in range(2)]
    await postgres.drop(name)


@pytest.mark.slow
async def test_of_two_processes_one_claims_a_session_and_one_a_prompt_until_it_ends(two_hosts):
    waits = await asyncio.gather(
        *(store.identifies.claim(0, apart_s=60.0, all_apart_s=0.0) for store in two_hosts)
    )
    prompts = await asyncio.gather(*(store.coordination.claim_prompt(7) for store in two_hosts))

    assert sorted(wait > 0 for wait in waits) == [False, True]
    assert sorted(prompts) == [False, True]
    owner, other = two_hosts if prompts[0] else reversed(two_hosts)
    assert await other.coordination.claim_prompt(8)
    await owner.close()
    async with asyncio.timeout(10):  # the server frees the lock a moment after the connection is closed
        while not await other.coordination.claim_prompt(7):
            await asyncio.sleep(0.02)
