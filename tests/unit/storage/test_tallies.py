"""Counts that processes share without storing them hold over a hand-over, a crash and an outage."""

import asyncio
import random
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from bot.moderation.report_queue import Reason, ReportQueue
from bot.servers.daily_limits import Limits
from bot.settings import LimitSettings
from storage.clock import utcnow
from storage.database import postgres_board
from storage.store import Store
from storage.tallies import SLACK_S, SharedClaims, Tallies
from tests.fakes import FixedClock
from tests.rig.waiting import until
from tests.unit.storage.given import ALICE, BOB, settings_in

ROOT = Path(__file__).parents[3]
DAY_S, KIND = 86_400.0, "day"
CHILD = """
import asyncio, sys
from pathlib import Path
from storage.store import Store
from tests.unit.storage.given import ALICE, settings_in

async def main(folder, url):
    async with await Store.open(settings_in(Path(folder), url=url)) as store:
        await store.tallies.share()
        store.tallies.add("day", store.member_id(ALICE), 86_400.0, messages=7, tokens=70)
        print("counted", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


class Wire:
    """A board between processes of a test; what is sent arrives when the test says so.

    Args:
        wire: The texts on the way, for all boards of the test.
    """

    def __init__(self, wire: list[str]) -> None:
        self._wire, self.hears = wire, True

    async def open(self, hear, to_tell, greeting) -> bool:
        self.hear, self.to_tell = hear, to_tell
        self._wire.append(greeting())
        return True

    def wake(self) -> None:
        self._wire += self.to_tell()

    async def close(self) -> None:
        pass


class Slow(Wire):
    def wake(self) -> None:
        """Send nothing before :meth:`flush`, as a process that is busy."""

    def flush(self) -> None:
        super().wake()


async def on_wire(clocks, kind=Wire):
    """Return tallies of processes with these clocks, their boards, and the wire between them."""
    wire: list[str] = []
    boards = [kind(wire) for _ in clocks]
    all_of_them = [
        Tallies(lambda kind, subject: subject, clock.steady, board)
        for clock, board in zip(clocks, boards, strict=True)
    ]
    for one in all_of_them:
        await one.share()
    return all_of_them, boards, wire


def deliver(boards, wire) -> None:
    while wire:
        payload = wire.pop(0)
        for board in boards:
            if board.hears:
                board.hear(payload)


def counted(tallies, subject=b"alice"):
    tally = tallies.of(KIND, subject)
    return (0, 0) if tally is None else (tally.messages, tally.tokens)


@pytest.mark.parametrize("seed", range(20))
async def test_whoever_counts_all_processes_count_the_same(seed):
    rng, clock = random.Random(seed), FixedClock()
    processes, boards, wire = await on_wire([clock] * 3, Slow)
    true = [0, 0]
    for _ in range(40):
        clock.advance(seconds=rng.randrange(60))
        messages, tokens = rng.choice([(1, 0), (0, 30), (0, 7)])
        rng.choice(processes).add(KIND, b"alice", DAY_S, messages=messages, tokens=tokens)
        true[0], true[1] = true[0] + messages, true[1] + tokens
        if rng.random() < 0.3:
            rng.choice(boards).flush()
        if rng.random() < 0.3:
            deliver(boards, wire)
    for board in boards:
        board.flush()
    deliver(boards, wire)

    assert [counted(one) for one in processes] == [tuple(true)] * 3


async def test_a_process_that_begins_later_learns_what_was_counted_and_when_it_ends():
    clock = FixedClock()
    (first, later), boards, wire = await on_wire([clock, clock])
    boards[1].hears = False
    first.add(KIND, b"alice", DAY_S, messages=5, tokens=50)
    SharedClaims(first, "invited", 2 * DAY_S).claim(b"alice")
    deliver(boards, wire)
    clock.advance(hours=23)
    boards[1].hears = True
    await later.share()
    deliver(boards, wire)
    known, asked = counted(later), SharedClaims(later, "invited", 2 * DAY_S).claim(b"ben")

    clock.advance(hours=1, seconds=1)

    assert (known, counted(later), asked) == ((5, 50), (0, 0), True)


@pytest.mark.parametrize("hours", [0.5, 12.0, 23.5])
async def test_a_day_that_two_processes_began_apart_is_one_day(hours):
    """The second process missed the first message; the day began with that one."""
    clock = FixedClock()
    (first, second), boards, wire = await on_wire([clock, clock])
    boards[1].hears = False
    first.add(KIND, b"alice", DAY_S, messages=3)
    deliver(boards, wire)
    boards[1].hears = True
    clock.advance(hours=hours)
    second.add(KIND, b"alice", DAY_S, messages=1)
    await second.share()
    deliver(boards, wire)
    together = counted(first), counted(second)
    clock.advance(hours=24 - hours)

    assert together == ((4, 0), (4, 0))
    assert (counted(first), counted(second)) == ((0, 0), (0, 0))


async def test_a_new_day_replaces_one_that_ends_a_moment_later_elsewhere():
    ahead, behind = FixedClock(), FixedClock()
    (first, second), boards, wire = await on_wire([ahead, behind])
    first.add(KIND, b"alice", DAY_S, messages=5)
    deliver(boards, wire)
    ahead.advance(seconds=DAY_S)
    behind.advance(seconds=DAY_S - SLACK_S / 2)
    first.add(KIND, b"alice", DAY_S, messages=1)
    deliver(boards, wire)

    assert (counted(first), counted(second)) == ((1, 0), (1, 0))


@pytest.mark.parametrize(
    "payload", ["", "other", "other + x", "other + ab:1:2:3", "other + zz:1:2:3:4", "o ? ?"]
)
async def test_what_cannot_be_read_is_left_out(payload):
    (one,), (board,), wire = await on_wire([FixedClock()])
    one.add(KIND, b"alice", DAY_S, messages=2)

    board.hear(payload)

    assert counted(one) == (2, 0)
    assert all(len(text) < 8000 for text in wire)


async def test_a_crowd_is_told_in_payloads_that_postgresql_takes():
    clock = FixedClock()
    (first, later), boards, wire = await on_wire([clock, clock], Slow)
    deliver(boards, wire)
    for number in range(3000):
        first.add(KIND, number.to_bytes(16), DAY_S, messages=1, tokens=10**9)
    boards[0].flush()

    assert len(wire) > 10
    assert max(len(text.encode()) for text in wire) < 8000
    deliver(boards, wire)
    assert len(later) == 3000


@pytest.fixture
async def url(postgres):
    name = await postgres.fresh()
    yield postgres.url(name)
    await postgres.drop(name)


@pytest.fixture
async def stores(tmp_path, url):
    """Stores of two processes on the same database that share their counts."""
    async with AsyncExitStack() as stack:
        both = [
            await stack.enter_async_context(await Store.open(settings_in(tmp_path, url=url)))
            for _ in range(2)
        ]
        listens = [SharedClaims(store.tallies, "listens", DAY_S) for store in both]
        for store, name, claims in zip(both, (b"first", b"second"), listens, strict=True):
            await store.tallies.share()
            claims.claim(name)
        await until(lambda: b"second" in listens[0] and b"first" in listens[1])
        yield both


async def test_on_sqlite_nothing_is_told(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await store.tallies.share()
        store.tallies.add(KIND, store.member_id(ALICE), DAY_S, messages=1)

        assert (store.tallies.shared, store.tallies._untold) == (False, {})


async def test_on_postgresql_another_process_counts_on_within_a_second(stores):
    """The staleness is measured and bounded."""
    first, second = stores
    subject = first.member_id(ALICE)
    late = []
    for number in range(1, 21):
        first.tallies.add(KIND, subject, DAY_S, messages=1, tokens=10)
        began = time.perf_counter()
        await until(lambda number=number: counted(second.tallies, subject) == (number, 10 * number))
        late.append(time.perf_counter() - began)
    second.tallies.add(KIND, subject, DAY_S, messages=-1)
    await until(lambda: counted(first.tallies, subject) == (19, 200))

    assert sorted(late)[10] < 1.0, late


async def test_a_day_used_up_in_one_process_is_used_up_in_the_other(stores):
    settings = [LimitSettings(member_messages=3, server_messages=9)]
    first, second = (Limits(store, utcnow, tallies=store.tallies) for store in stores)
    for _ in range(3):
        first.spend(ALICE, messages=1)
    await until(lambda: second.of_member(ALICE, settings, ()).used_up)
    second.spend(BOB, messages=1)
    await until(lambda: first.of_server(BOB, settings).messages == 5)

    assert [one.used_up(ALICE, settings, ()) is not None for one in (first, second)] == [True, True]
    assert (first.of_member(BOB, settings, ()).messages, second.of_server(ALICE, settings).messages) == (2, 5)


async def test_a_person_who_reported_a_reply_counts_once_in_all_processes(stores):
    first, second = (ReportQueue(store) for store in stores)
    taken = await first.take(ALICE, 1, 2, Reason.RUDE)
    key = (2).to_bytes(8) + stores[0].member_id(ALICE)
    await until(lambda: key in second._reporters)

    assert (taken, await second.take(ALICE, 1, 2, Reason.WRONG)) == (True, False)
    assert await second.take(BOB, 1, 2, Reason.WRONG)


async def test_no_table_holds_what_is_counted(stores, url):
    first, second = stores
    before = await rows_of(url)
    first.tallies.add(KIND, first.member_id(ALICE), DAY_S, messages=3)
    SharedClaims(first.tallies, "invited", DAY_S).claim(first.member_id(BOB))
    await until(lambda: first.member_id(BOB) in SharedClaims(second.tallies, "invited", DAY_S))

    assert await rows_of(url) == before


async def rows_of(url) -> dict[str, int]:
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {t: await connection.fetchval(f"SELECT count(*) FROM {t}") for (t,) in tables}
    finally:
        await connection.close()


async def test_a_claim_holds_in_the_other_process_until_it_is_released(stores):
    first, second = (SharedClaims(store.tallies, "invited", DAY_S) for store in stores)
    key = stores[0].member_id(ALICE)
    taken = first.claim(key)
    await until(lambda: key in second)
    again = second.claim(key)
    first.release(key)
    await until(lambda: key not in second)

    assert (taken, again, second.claim(key)) == (True, False, True)


async def test_counts_survive_the_kill_of_their_process_and_reach_its_successor(tmp_path, url, stores):
    survivor, _ = stores
    subject = survivor.member_id(ALICE)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert await asyncio.to_thread(child.stdout.readline) == "counted\n"
        await until(lambda: counted(survivor.tallies, subject) == (7, 70))
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    async with await Store.open(settings_in(tmp_path, url=url)) as successor:
        await successor.tallies.share()
        await until(lambda: counted(successor.tallies, subject) == (7, 70))


async def test_what_is_counted_while_the_connection_is_lost_arrives_afterwards(stores, url, monkeypatch):
    monkeypatch.setattr(postgres_board, "FIRST_WAIT_S", 0.05)
    first, second = stores
    subject = first.member_id(ALICE)
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = $1", postgres_board._NOTIFY
    )
    await connection.close()
    first.tallies.add(KIND, subject, DAY_S, messages=1)
    second.tallies.add(KIND, subject, DAY_S, messages=2)

    await until(lambda: counted(first.tallies, subject) == counted(second.tallies, subject) == (3, 0))


async def test_control_processes_that_do_not_share_count_alone(tmp_path, url):
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(await Store.open(settings_in(tmp_path, url=url)))
            for _ in range(2)
        ]
        first.tallies.add(KIND, first.member_id(ALICE), DAY_S, messages=1)
        await first.coordination.claim_prompt(1)  # a round trip later
        await asyncio.sleep(0.2)

        assert counted(second.tallies, first.member_id(ALICE)) == (0, 0)
