"""Daily limits: the tightest setting, the widest role, a full reset after 24 hours, bounded memory."""

from __future__ import annotations

from datetime import timedelta

import pytest

from bot.servers.daily_limits import Limits, Standing, limit_of_member, limit_of_server
from bot.settings import DailyLimit, LimitSettings
from storage.records import DIRECT_MESSAGES, Who
from tests.fakes import FixedClock

ALICE, BEN = Who(1, 10), Who(1, 20)
FIVE = LimitSettings(member_messages=5, member_tokens=1000, server_messages=7)


class Names:
    """The part of the store that limits need: pseudonyms of members and servers."""

    def member_id(self, who: Who) -> bytes:
        return b"member %d %d" % (who.guild_id, who.user_id)

    def guild_id(self, who: Who) -> bytes:
        return b"guild %d" % who.guild_id


@pytest.fixture
def clock():
    return FixedClock()


@pytest.mark.parametrize(
    ("parts", "roles", "limit"),
    [
        ([], set(), DailyLimit()),
        ([LimitSettings()], set(), DailyLimit()),
        ([FIVE], set(), DailyLimit(5, 1000)),
        ([FIVE, LimitSettings(member_messages=3)], set(), DailyLimit(3, 1000)),  # the tighter part
        ([FIVE, LimitSettings(member_messages=50)], set(), DailyLimit(5, 1000)),  # a server cannot widen
        ([LimitSettings(member_messages=5, roles={"7": DailyLimit(9, 0)})], {7}, DailyLimit(9, 0)),
        ([LimitSettings(member_messages=5, roles={"7": DailyLimit(9, 0)})], {8}, DailyLimit(5, 0)),
        ([LimitSettings(member_messages=5, roles={"7": DailyLimit(2, 0)})], {7}, DailyLimit(5, 0)),
        ([LimitSettings(member_messages=5, roles={"7": DailyLimit(0, 0)})], {7}, DailyLimit(0, 0)),
        ([FIVE, LimitSettings(member_messages=3, roles={"7": DailyLimit(50, 0)})], {7}, DailyLimit(5, 1000)),
    ],
)
def test_the_limit_of_a_member(parts, roles, limit):
    assert limit_of_member(parts, roles) == limit


def test_the_limit_of_a_server_is_the_tightest():
    parts = [FIVE, LimitSettings(server_messages=20, server_tokens=9)]

    assert limit_of_server(parts) == DailyLimit(7, 9)


def test_what_is_used_is_missing_until_the_day_ends(clock):
    limits = Limits(Names(), clock)
    before = limits.of_member(ALICE, [FIVE], ())
    limits.spend(ALICE, messages=1)
    clock.advance(hours=20)
    limits.spend(ALICE, messages=4, tokens=300)

    used_up = limits.of_member(ALICE, [FIVE], ())
    clock.advance(hours=4)

    assert before == Standing(DailyLimit(5, 1000), 5, 1000, None)
    assert used_up == Standing(DailyLimit(5, 1000), 0, 700, FixedClock().now + timedelta(days=1))
    assert (before.used_up, used_up.used_up) == (False, True)
    assert limits.of_member(ALICE, [FIVE], ()) == before


def test_members_have_their_own_days_and_a_server_all_of_them_together(clock):
    limits = Limits(Names(), clock)
    limits.spend(ALICE, messages=5)
    limits.spend(BEN, messages=2)

    left = [limits.of_member(who, [FIVE], ()).messages for who in (ALICE, BEN, Who(2, 10))]

    assert left == [0, 3, 5]
    assert limits.of_server(ALICE, [FIVE]).messages == 0
    assert limits.of_server(Who(DIRECT_MESSAGES, 10), [FIVE]).messages is None


def test_what_was_not_answered_is_given_back(clock):
    limits = Limits(Names(), clock)
    limits.spend(ALICE, messages=1)
    limits.spend(ALICE, messages=-1, tokens=2000)

    left = limits.of_member(ALICE, [FIVE], ())

    assert (left.messages, left.tokens, left.used_up) == (5, 0, True)


def test_a_crowd_is_counted_in_bounded_memory(clock):
    limits = Limits(Names(), clock, size=10)
    for number in range(100):
        limits.spend(Who(1, number), messages=1)

    assert len(limits) == 10
    assert limits.of_member(Who(1, 99), [FIVE], ()).messages == 4
