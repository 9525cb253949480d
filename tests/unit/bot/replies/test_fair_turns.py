"""Members who wait take turns; a member's own requests keep their order, and no turn is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bot.replies.fair_turns import FairTurns


async def order_of(turns: FairTurns, asked: Sequence[str]) -> str:
    """Owners in the order of their turns, after requests in the order of ``asked`` while a turn was held."""
    had: list[str] = []

    async def take(owner: str) -> None:
        async with turns.turn(owner):
            had.append(owner)

    async with turns.turn("first"):
        tasks = [asyncio.create_task(take(owner)) for owner in asked]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return "".join(had)


async def test_members_who_wait_take_turns():
    assert await order_of(FairTurns(1), "aaaabbc") == "abcabaa"


async def test_whoever_comes_late_waits_for_one_turn_of_each():
    assert await order_of(FairTurns(1, most_waiting=1000), "a" * 1000 + "b") == "ab" + "a" * 999


async def test_what_somebody_waits_behind_is_done_in_their_turn():
    turns, had = FairTurns(1, most_waiting=200), []

    async def take(name: str, *behind: str) -> None:
        async with turns.turn("a", lambda: behind):
            had.append(name)

    async with turns.turn("first"):
        tasks = [asyncio.create_task(take(f"a{number}")) for number in range(100)]
        tasks += [asyncio.create_task(take("in b's way", "b")), asyncio.create_task(take("a100"))]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert had[:3] == ["a0", "in b's way", "a1"]
    assert len(had) == 102


async def test_a_crowd_is_remembered_in_bounded_memory(monkeypatch):
    monkeypatch.setattr("bot.replies.fair_turns.MOST_REMEMBERED", 10)
    turns = FairTurns(1)

    await order_of(turns, [f"member {number}" for number in range(100)])

    assert len(turns._rank) <= 10


async def test_so_many_run_at_once_as_are_allowed():
    turns, running, most = FairTurns(3), 0, 0

    async def take(owner: int) -> None:
        nonlocal running, most
        async with turns.turn(owner):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*(take(owner) for owner in range(20)))

    assert (most, len(turns)) == (3, 0)


async def test_whoever_stops_waiting_takes_no_turn_along():
    turns, had = FairTurns(1), []

    async def take(owner: str) -> None:
        async with turns.turn(owner):
            had.append(owner)

    async with turns.turn("first"):
        gone, stays, unlucky = (asyncio.create_task(take(owner)) for owner in ("gone", "stays", "unlucky"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
    stays.cancel()  # its turn has just been granted
    await asyncio.gather(gone, stays, unlucky, return_exceptions=True)

    assert had == ["unlucky"]
    async with asyncio.timeout(1), turns.turn("later"):
        pass


async def test_many_who_stop_waiting_at_once_leave_the_turn_to_the_one_who_stays():
    turns, had = FairTurns(1), []

    async def take(owner: str) -> None:
        async with turns.turn(owner):
            had.append(owner)

    async with turns.turn("first"):
        gone = [asyncio.create_task(take(f"gone{number}")) for number in range(5)]
        stays = asyncio.create_task(take("stays"))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
    await asyncio.gather(*gone, stays, return_exceptions=True)

    assert (had, len(turns)) == (["stays"], 0)
