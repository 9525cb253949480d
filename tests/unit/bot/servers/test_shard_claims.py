"""Shard claims: the order of starts, quick restarts, ends of processes, and a database that is lost."""

from __future__ import annotations

import asyncio
import random

import pytest

from bot.servers.shard_claims import FREE_S, POLL_S, START_S, ShardClaims
from storage.errors import DatabaseFailed
from storage.records import Shard

COUNT = 4
ALL = [Shard(number, COUNT) for number in range(COUNT)]


class Locks:
    """The locks of a database that several processes share, in memory."""

    def __init__(self) -> None:
        self.owners: dict[Shard, Process] = {}


class Process:
    """One process: its claims, its connection to the locks, and the shards that it connected.

    Attributes:
        n_losses: How often its connection to the database was lost.
        down: Whether that connection is lost now.
        broken: Whether the database refuses queries.
    """

    def __init__(self, locks: Locks, wanted: list[Shard], *, spare: bool = False) -> None:
        self.locks, self.shards, self.n_losses = locks, self, 0
        self.down = self.broken = False
        self.connected: set[Shard] = set()
        self.mine: set[Shard] = set()
        self.now = 0.0
        self.turn = asyncio.Event()
        self.claims = ShardClaims(
            self,  # type: ignore[arg-type] - what is read of a coordination is here
            wanted,
            spare=spare,
            clock=lambda: self.now,
            sleep=self._sleep,
        )
        self.running = asyncio.create_task(self.claims.run(self.connected.add, self.connected.discard))

    async def _sleep(self, _seconds: float) -> None:
        self.turn.clear()
        await self.turn.wait()

    async def serve(self, shard: Shard) -> bool:
        if self.broken:
            raise DatabaseFailed("lost during the claim")
        if not self.down and self.locks.owners.setdefault(shard, self) is self:
            self.mine.add(shard)
        return shard in self.mine

    async def settle(self) -> None:
        """Do nothing: the locks of this process are right."""

    def serves(self, shard: Shard) -> bool:
        return shard in self.mine

    async def served(self) -> set[Shard] | None:
        if self.broken:
            raise DatabaseFailed("lost")
        return None if self.down else set(self.locks.owners)

    def lose_connection(self) -> None:
        """Lose the connection, and with it all locks."""
        self.down, self.n_losses = True, self.n_losses + 1
        self._release()

    def reconnect(self) -> None:
        """Take the locks of before again, as far as they are free."""
        self.down = False
        self.mine = {one for one in self.mine if self.locks.owners.setdefault(one, self) is self}

    def kill(self) -> None:
        self.running.cancel()
        self._release()
        self.connected.clear()

    def _release(self) -> None:
        for shard in [one for one, owner in self.locks.owners.items() if owner is self]:
            del self.locks.owners[shard]


async def passed(seconds: float, *processes: Process) -> None:
    """Let so many seconds pass for these processes."""
    for _ in range(int(seconds / POLL_S)):
        for one in processes:
            one.now += POLL_S
            one.turn.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)


@pytest.fixture
async def locks():
    return Locks()


async def test_a_second_process_with_the_same_shards_waits_and_follows_at_once(locks):
    first, second = Process(locks, ALL[:2]), Process(locks, ALL[:2])
    await passed(20, first, second)
    before = first.connected.copy(), second.connected.copy()
    first.kill()
    await passed(POLL_S, second)

    assert before == (set(ALL[:2]), set())
    assert second.claims.waited
    assert second.connected == set(ALL[:2])


async def test_control_without_locks_two_processes_serve_the_same_shards(locks, monkeypatch):
    async def nothing(_: Process) -> set[Shard]:
        return set()

    async def always(self: Process, shard: Shard) -> bool:
        self.mine.add(shard)
        return True

    monkeypatch.setattr(Process, "served", nothing)
    monkeypatch.setattr(Process, "serve", always)
    first, second = Process(locks, ALL[:2]), Process(locks, ALL[:2])
    await passed(20, first, second)

    assert first.connected == second.connected == set(ALL[:2])


async def test_a_spare_that_starts_first_leaves_the_shards_to_their_processes(locks):
    spare = Process(locks, ALL, spare=True)
    await passed(START_S - 4, spare)
    owner = Process(locks, ALL)
    await passed(100, owner, spare)

    assert (owner.connected, spare.connected) == (set(ALL), set())


async def test_a_spare_takes_shards_that_no_process_ever_served(locks):
    spare = Process(locks, ALL, spare=True)
    await passed(START_S + 2 * POLL_S, spare)

    assert spare.connected == set(ALL)


async def test_a_spare_takes_over_after_an_end_but_not_after_a_quick_restart(locks):
    first, spare = Process(locks, ALL[:2]), Process(locks, ALL, spare=True)
    others = Process(locks, ALL[2:])
    await passed(10, first, others, spare)
    first.kill()
    await passed(FREE_S - POLL_S, others, spare)
    again = Process(locks, ALL[:2])
    await passed(60, again, others, spare)
    after_restart = spare.connected.copy()
    again.kill()
    await passed(FREE_S + 2 * POLL_S, others, spare)

    assert after_restart == set()
    assert spare.connected == set(ALL[:2])
    assert others.connected == set(ALL[2:])


async def test_of_two_spares_one_takes_a_shard(locks):
    owner, spares = Process(locks, ALL), [Process(locks, ALL, spare=True) for _ in range(2)]
    await passed(10, owner, *spares)
    owner.kill()
    await passed(60, *spares)

    assert sorted(len(one.connected) for one in spares) == [0, COUNT]


async def test_a_process_that_lost_its_locks_disconnects_what_another_one_took(locks):
    first, spare = Process(locks, ALL), Process(locks, ALL, spare=True)
    await passed(10, first, spare)
    first.lose_connection()
    await passed(FREE_S + 2 * POLL_S, first, spare)
    meanwhile = first.connected.copy()
    first.reconnect()
    await passed(POLL_S, first, spare)

    assert meanwhile == set(ALL)  # it goes on: better two answers than none
    assert (first.connected, spare.connected) == (set(), set(ALL))
    spare.kill()
    await passed(POLL_S, first)
    assert first.connected == set(ALL)


async def test_a_database_that_all_lost_leaves_every_shard_where_it_was(locks):
    first, spare = Process(locks, ALL), Process(locks, ALL, spare=True)
    await passed(10, first, spare)
    first.lose_connection()
    spare.lose_connection()
    await passed(300, first, spare)
    spare.reconnect()
    await passed(START_S - 10, first, spare)  # a process reconnects within half a minute
    first.reconnect()
    await passed(100, first, spare)

    assert (first.connected, spare.connected) == (set(ALL), set())


async def test_a_database_that_is_lost_during_a_claim_delays_it(locks, caplog):
    first = Process(locks, ALL)
    first.broken = True
    await passed(10, first)
    before = first.connected.copy()
    first.broken = False
    await passed(POLL_S, first)

    assert (before, first.connected) == (set(), set(ALL))
    assert "cannot be seen" in caplog.text


async def test_processes_with_another_number_of_shards_are_named_once(locks, caplog):
    old = Process(locks, [Shard(0, 2), Shard(1, 2)])
    await passed(POLL_S, old)
    new = Process(locks, ALL)
    await passed(10, old, new)

    assert new.connected == set(ALL)
    assert caplog.text.count("other processes have shard_count = 2") == 1


async def test_a_shard_waits_for_its_locks_as_long_as_the_database_is_away(locks):
    """A spare took the shard meanwhile; the process that lost it must not connect it again."""
    first, spare = Process(locks, ALL), Process(locks, ALL, spare=True)
    await passed(20, first, spare)
    first.lose_connection()
    asked = asyncio.create_task(first.claims.keeps(0))
    await passed(600, first, spare)
    waits = not asked.done()
    first.reconnect()
    await passed(POLL_S, first, spare)

    assert waits and spare.connected == set(ALL)
    assert await asked is False


async def test_a_shard_that_nobody_took_goes_on(locks):
    first = Process(locks, ALL)
    await passed(20, first)
    first.lose_connection()
    asked = asyncio.create_task(first.claims.keeps(0))
    await passed(600, first)
    first.reconnect()
    await passed(POLL_S, first)

    assert await asked is True


async def test_a_turn_that_came_while_the_locks_were_lost_is_asked_for_again(locks):
    first, turns = Process(locks, ALL), 0
    await passed(20, first)

    async def turn() -> None:
        nonlocal turns
        turns += 1
        if turns == 1:  # hours pass, and the database is away for some of them
            first.lose_connection()
            first.reconnect()

    assert await first.claims.keeps_until(turn, 0) is True
    assert turns == 2


async def test_no_turn_is_asked_for_a_shard_of_another_process(locks):
    first, second = Process(locks, ALL), Process(locks, ALL)
    await passed(20, first, second)

    async def turn() -> None:
        raise AssertionError("it must not begin a session")

    assert await second.claims.keeps_until(turn, 0) is False


@pytest.mark.parametrize("seed", range(20))
async def test_in_any_history_no_shard_is_served_twice_and_every_shard_within_a_minute(locks, seed):
    rng = random.Random(seed)
    fixed, spares = [Process(locks, ALL[:2]), Process(locks, ALL[2:])], [Process(locks, ALL, spare=True)]
    for _ in range(30):
        act, place = rng.choice(("kill", "second", "spare", "pass")), rng.randrange(2)
        if act == "kill":
            fixed[place].kill()
            fixed[place] = Process(locks, ALL[2 * place : 2 * place + 2])
        elif act == "second":
            Process.kill(spares.pop(0))
            spares.append(Process(locks, ALL, spare=True))
        elif act == "spare" and len(spares) < 3:
            spares.append(Process(locks, ALL, spare=True))
        await passed(rng.choice((2, 8, 20)), *fixed, *spares)
        served = [shard for one in (*fixed, *spares) for shard in one.connected]
        assert len(served) == len(set(served))
    await passed(START_S, *fixed, *spares)

    assert sorted(shard.id for one in (*fixed, *spares) for shard in one.connected) == [0, 1, 2, 3]
