"""P40: a jump of the host clock neither renews a day's limit nor stretches it.

A member uses up the day, and the host clock jumps. The day ends 24 hours later on the steady clock.
Reports in memory get old by the steady clock as well.

Control: with a day by the wall clock, a jump ahead renews it and a jump back locks the member out.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.moderation import report_queue
from bot.moderation.report_queue import Reason, ReportQueue
from bot.servers.daily_limits import Limits
from bot.settings import LimitSettings
from storage.database.deletion_clock import DeletionClock
from storage.records import Who
from storage.replies.reported_replies import RETENTION
from storage.store import Store
from tests.fakes import FixedClock
from tests.unit.storage.given import ALICE, settings_in

pytestmark = pytest.mark.promise("P40")

JUMPS = [sign * timedelta(days=days) for days in (1 / 24, 1, 3653) for sign in (-1, 1)]
SETTINGS = [LimitSettings(member_messages=2, server_messages=3)]


class HostClock(FixedClock):
    """A wall clock that ``jump`` sets off; only ``advance`` moves the steady clock."""

    jump = timedelta()

    def __call__(self):
        return self.now + self.jump


class WallOnly(HostClock):
    """A clock whose intervals go by the wall clock."""

    def steady(self) -> float:
        return self().timestamp()


class Names:
    def member_id(self, who: Who) -> bytes:
        return b"member %d" % who.user_id

    def guild_id(self, who: Who) -> bytes:
        return b"guild %d" % who.guild_id


def day_of(clock: HostClock, jump: timedelta) -> list[bool]:
    """Return whether the day is used up: after the jump, a second before its end, and at its end."""
    limits = Limits(Names(), clock)
    limits.spend(ALICE, messages=2)
    clock.advance(hours=1)
    clock.jump = jump
    used_up = []
    for hours, seconds in ((0, 0), (22, 3599), (0, 1)):
        clock.advance(hours=hours, seconds=seconds)
        used_up.append(limits.of_member(ALICE, SETTINGS, ()).used_up)
    return used_up


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_a_day_lasts_24_hours_whatever_the_host_clock_does(jump):
    assert day_of(HostClock(), jump) == [True, True, False]


@pytest.mark.parametrize("jump", JUMPS, ids=str)
def test_the_end_that_a_member_is_shown_is_at_most_a_day_ahead(jump):
    clock = HostClock()
    limits = Limits(Names(), clock)
    limits.spend(ALICE, messages=2)
    clock.jump = jump
    clock.advance(hours=4)

    assert limits.of_member(ALICE, SETTINGS, ()).back_at - clock() == timedelta(hours=20)


def test_control_by_the_wall_clock_a_jump_renews_the_day_or_locks_out():
    assert day_of(WallOnly(), timedelta(days=1)) == [False, False, False]
    assert day_of(WallOnly(), -timedelta(days=3653)) == [True, True, True]


async def test_reports_in_memory_get_old_by_the_steady_clock(tmp_path, monkeypatch):
    clock, steady = HostClock(), 0.0
    monkeypatch.setattr(report_queue, "utcnow", clock)
    monkeypatch.setattr(report_queue, "steady_s", lambda: steady)
    async with await Store.open(settings_in(tmp_path)) as store:
        queue = ReportQueue(store)
        await queue.take(ALICE, 1, 2, Reason.RUDE)
        clock.jump = timedelta(days=3653)
        assert (await queue.waiting(ALICE, 5))[1] == 1

        steady = RETENTION.total_seconds() + 1

        assert (await queue.waiting(ALICE, 5))[1] == 0


def test_new_rows_are_never_dated_before_the_trusted_time():
    clock = HostClock()
    dates = DeletionClock(clock)
    dates._trusted = (clock(), clock.steady())
    clock.jump = -timedelta(days=3653)
    clock.advance(hours=1)

    assert dates.now() == clock.now
