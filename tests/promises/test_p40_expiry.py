"""P40: no text, report or server is deleted because a clock jumped, and an honest clock deletes on time.

The clock of a real store is set off by an hour to ten years, while the store runs and while it is closed.
Afterwards the clock is right again, or runs on evenly. Time that really passes advances the wall clock and
the steady clock; a jump moves the wall clock alone.

Controls: without the trusted time, the jump deletes; without new dates, a text from the future stays.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine

import storage.clock
from storage.database import deletion_clock
from storage.database.deletion_clock import DeletionClock, Reading
from storage.database.schema import metadata
from storage.records import Who
from storage.store import Store
from tests.fakes import FixedClock
from tests.unit.storage.given import ALICE, FIRST, posted, settings_in

pytestmark = pytest.mark.promise("P40")

DAYS = 30
JUMPS = [timedelta(days=days) for days in (1 / 24, 1, 31, 3653)]
ELSEWHERE = Who(ALICE.guild_id + 1, ALICE.user_id)
GONE = (1, 1, True)
KEPT = (0, 0, False)


class HostClock(FixedClock):
    """A wall clock that ``jump`` sets off; only ``advance`` moves the steady clock."""

    jump = timedelta()

    def __call__(self) -> datetime:
        return self.now + self.jump


async def opened(tmp_path, clock) -> Store:
    return await Store.open(settings_in(tmp_path, retention_days=DAYS), now=clock)


async def lived(store: Store) -> None:
    """A reply with a report, and a server that the bot left."""
    await posted(store, ALICE, FIRST)
    await store.reports.record(store.guild_id(ALICE), FIRST, "rude")
    await posted(store, ELSEWHERE, FIRST + 1)
    await store.departures.record(ELSEWHERE.guild_id)


async def deleted(store: Store) -> tuple[int, int, bool]:
    """Run the jobs; return the deleted texts and reports, and whether a server was deleted."""
    left = await store.departures.erase_due()
    return await store.replies.expire_texts(), await store.reports.expire(), left is not None


@pytest.mark.parametrize("jump", JUMPS, ids=str)
async def test_a_jump_ahead_deletes_nothing_and_honest_time_goes_on(tmp_path, jump):
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        await lived(store)
        clock.advance(days=6, hours=23, minutes=30)
        clock.jump = jump
        assert await deleted(store) == KEPT
        clock.advance(minutes=20)
        assert await deleted(store) == KEPT

        clock.advance(minutes=10)

        assert await deleted(store) == (0, 0, True)


@pytest.mark.parametrize("jump", [*JUMPS, *(-jump for jump in JUMPS)], ids=str)
async def test_a_jump_over_a_restart_deletes_nothing(tmp_path, jump):
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        await lived(store)
    clock.jump = jump
    for _ in range(2):
        async with await opened(tmp_path, clock) as store:
            assert await deleted(store) == KEPT
            clock.advance(hours=23)
            assert await deleted(store) == KEPT
        clock.jump = timedelta()


async def test_texts_that_are_written_after_a_jump_back_live_as_long_as_others(tmp_path):
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        clock.jump = -timedelta(days=3653)
        await lived(store)
        assert await deleted(store) == KEPT
        clock.jump = timedelta()
        clock.advance(days=6, hours=23)
        assert await deleted(store) == KEPT
        clock.advance(days=23, hours=2)

        assert await deleted(store) == GONE


async def dated_ahead(tmp_path) -> tuple[int, int, bool]:
    """Return what is deleted in time of data that were written by a clock ten years ahead."""
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        clock.jump = timedelta(days=3653)
        await lived(store)
        clock.jump = timedelta()
        assert await deleted(store) == KEPT
        clock.advance(days=DAYS, hours=1)
        return await deleted(store)


async def test_data_that_a_clock_dated_ahead_get_old_from_the_correction_on(tmp_path):
    assert await dated_ahead(tmp_path) == GONE


async def test_control_without_new_dates_data_from_the_future_stay(tmp_path, monkeypatch):
    for module in ("storage.replies.impressions", "storage.replies.reported_replies"):
        monkeypatch.setattr(f"{module}.redate", lambda *_: None)
    monkeypatch.setattr("storage.privacy.departures.redate", lambda *_: None)

    assert await dated_ahead(tmp_path) == KEPT


async def test_an_honest_clock_deletes_on_time_while_the_bot_runs(tmp_path):
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        await lived(store)
        for _ in range(DAYS):
            assert (await store.replies.expire_texts(), await store.reports.expire()) == (0, 0)
            clock.advance(days=1, seconds=5)

        assert await deleted(store) == GONE


async def test_after_months_offline_deletion_waits_a_day_and_says_so_once(tmp_path, caplog):
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        await lived(store)
    clock.jump = timedelta(days=90)  # time passed while the steady clock of this host was off
    with caplog.at_level(logging.WARNING, "storage.database.deletion_clock"):
        async with await opened(tmp_path, clock) as store:
            assert await deleted(store) == KEPT
            clock.advance(hours=12)
            assert await deleted(store) == KEPT
        clock.jump += timedelta(minutes=40)  # a restart
        async with await opened(tmp_path, clock) as store:
            clock.advance(hours=12)

            assert await deleted(store) == GONE
    assert [record.getMessage()[:31] for record in caplog.records] == ["the clock is +2160.0 hours from"]


async def test_short_stops_hardly_delay_a_deletion(tmp_path):
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        await lived(store)
    for _ in range(7):
        clock.jump += timedelta(minutes=20)
        async with await opened(tmp_path, clock) as store:
            clock.advance(hours=23, minutes=35)
            assert await store.departures.erase_due() is None
            clock.advance(minutes=5)
    async with await opened(tmp_path, clock) as store:
        clock.advance(hours=1)

        assert await store.departures.erase_due() is not None


def days_until_texts_are_old(*, on_hours: int, off_hours: int) -> float:
    """Return when a text of today is old for a host that is off for a part of its time; at most 200 days."""
    clock = HostClock()
    engine = create_engine("sqlite://")
    began = clock()
    with engine.connect() as connection:
        metadata.create_all(connection)
        while (age := clock() - began) < timedelta(days=200):
            dates = DeletionClock(clock)
            for _ in range(on_hours):
                if dates.look(connection).time >= began + timedelta(days=DAYS):
                    return (clock() - began) / timedelta(days=1)
                clock.advance(hours=1)
            clock.jump += timedelta(hours=off_hours)
    engine.dispose()
    return age / timedelta(days=1)


@pytest.mark.parametrize(("on_hours", "off_hours"), [(16, 8), (8, 16), (2, 22), (4, 163)])
def test_a_host_that_is_off_every_night_deletes_after_a_day_of_running(on_hours, off_hours):
    late = days_until_texts_are_old(on_hours=on_hours, off_hours=off_hours) - DAYS

    n_sessions = 24 / (on_hours - 1) + 1  # the last hour of each may not be noted any more
    assert 0 <= late <= n_sessions * (on_hours + off_hours) / 24


def test_control_if_each_night_starts_the_wait_again_texts_stay_for_weeks(monkeypatch):
    monkeypatch.setattr(deletion_clock, "SHORT_STOP", timedelta(hours=1))

    assert days_until_texts_are_old(on_hours=8, off_hours=16) > DAYS + 14


async def test_a_clock_that_goes_to_and_fro_is_never_trusted(tmp_path):
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        await lived(store)
        for number in range(24):
            clock.jump = timedelta(days=3653 + number % 2)
            assert await store.replies.expire_texts() == 0
            clock.advance(hours=23)


async def test_control_without_the_trusted_time_a_jump_deletes(tmp_path, monkeypatch):
    monkeypatch.setattr(DeletionClock, "look", lambda self, _: Reading(self._now(), True))
    clock = HostClock()
    async with await opened(tmp_path, clock) as store:
        await lived(store)
        clock.jump = timedelta(days=31)

        assert await deleted(store) == GONE


async def test_on_postgres_the_servers_clock_dates_and_deletes(tmp_path, postgres, monkeypatch):
    class Ahead(datetime):
        days = 0

        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=cls.days)

    monkeypatch.setattr(storage.clock, "datetime", Ahead)
    name = await postgres.fresh()
    settings = settings_in(tmp_path, url=postgres.url(name))
    for days in (-3653, 3653):
        Ahead.days = days
        async with await Store.open(settings) as store:
            if days < 0:
                await lived(store)
                dated = (await store.replies.latest(ALICE)).created_at
                assert abs(dated - datetime.now(UTC)) < timedelta(minutes=5)
            assert await deleted(store) == KEPT
    await postgres.drop(name)


async def test_the_hosts_own_clock_deletes_nothing_after_a_jump(tmp_path):
    jump = timedelta()
    async with await Store.open(settings_in(tmp_path), now=lambda: datetime.now(UTC) + jump) as store:
        await lived(store)
        jump = timedelta(days=3653)

        assert await deleted(store) == KEPT
    assert timedelta(hours=1) <= deletion_clock.SETTLE <= timedelta(days=7)
