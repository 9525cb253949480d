"""The picture of ``/stats``, with any part of its data missing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from bot.ui.charts import stats_picture

DAY = (date(2026, 1, 1), 7)
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("labels", [[], [DAY], [DAY, (date(2026, 1, 30), 9)]])
@pytest.mark.parametrize("seconds", [{}, {"generate": 2.0, "rank": 0.1}])
@pytest.mark.parametrize("gain", [None, (3.0, -1.0, 7.0)])
def test_it_is_drawn_with_any_part_missing(labels, seconds, gain):
    assert stats_picture(labels, seconds, gain).startswith(PNG)


def test_two_are_drawn_at_once_as_each_alone():
    alone = [stats_picture([(date(2026, 1, 1), n)], {}, None) for n in (1, 2)]

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda n: stats_picture([(date(2026, 1, 1), n)], {}, None), (1, 2)))

    assert together == alone
    assert alone[0] != alone[1]
