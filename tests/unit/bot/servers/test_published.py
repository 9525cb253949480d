"""The rule for figures about several members: noise, buckets, periods."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from bot.servers.published import (
    BUCKETS,
    DAY,
    EPSILON,
    FEWEST,
    WEEK,
    Frozen,
    about,
    next_hour,
    noise,
    period_of,
    share_left,
)
from tests.fakes import FixedClock

SECRET = b"secret of one server"


def test_noise_is_symmetric_and_as_wide_as_its_parameter_says():
    drawn = [noise(SECRET, n) for n in range(20_000)]
    alpha = math.exp(-EPSILON)
    variance = 2 * alpha / (1 - alpha) ** 2

    assert abs(sum(drawn) / len(drawn)) < 4 * math.sqrt(variance / len(drawn))
    assert sum(x * x for x in drawn) / len(drawn) == pytest.approx(variance, rel=0.1)
    for value in range(6):  # each step is less likely by the factor alpha
        assert Counter(drawn)[value + 1] / Counter(drawn)[value] == pytest.approx(alpha, rel=0.2)


def test_the_same_figure_in_the_same_period_draws_the_same_noise():
    assert noise(SECRET, "rating", 7) == noise(SECRET, "rating", 7)
    assert len({noise(SECRET, name, n) for name in ("rating", "learning") for n in range(50)}) > 10
    assert len({noise(bytes([n]) * 16, "rating", 7) for n in range(50)}) > 5


def test_a_published_count_is_a_bucket_or_nothing_and_never_below_the_floor():
    published = {about(count, SECRET, count, n) for count in range(0, 200, 3) for n in range(50)}
    few = {about(count, SECRET, count, n) for count in range(FEWEST) for n in range(5000)}

    assert published <= {None, *BUCKETS}
    assert few == {None}
    assert about(10**6, SECRET, 1) == BUCKETS[-1]


def test_a_week_starts_on_monday_in_utc():
    sunday = datetime(2026, 11, 29, 23, 59, tzinfo=UTC)

    number, start = period_of(sunday, WEEK)

    assert start == datetime(2026, 11, 23, tzinfo=UTC)
    assert period_of(sunday + timedelta(minutes=1), WEEK) == (number + 1, datetime(2026, 11, 30, tzinfo=UTC))


async def test_what_was_published_stays_until_its_period_ends_also_if_the_clock_is_set_back():
    clock, read = FixedClock(), []

    async def count(period, start):
        read.append(start)
        return len(read)

    frozen = Frozen(DAY, clock)
    first = [await frozen.of("a", count), await frozen.of("a", count)]
    clock.advance(days=1)
    second = await frozen.of("a", count)
    clock.advance(days=-3)
    back = await frozen.of("a", count)

    assert (first, second, back) == ([1, 1], 2, 2)


@pytest.mark.parametrize(
    ("left", "percent"), [(100, 100), (99, 100), (80, 75), (51, 50), (20, 25), (12, 10), (1, 10), (0, 0)]
)
def test_what_is_left_of_a_shared_limit_is_told_in_quarters(left, percent):
    assert share_left(left, 100) == percent


def test_a_moment_of_another_member_is_told_as_the_next_full_hour():
    hours = {next_hour(datetime(2026, 1, 1, 10, minute, 59, tzinfo=UTC)) for minute in range(60)}

    assert hours == {int(datetime(2026, 1, 1, 11, tzinfo=UTC).timestamp())}
