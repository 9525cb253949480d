"""The picture of ``/stats``, with any part of its data missing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.ui.charts import stats_picture

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("seconds", [{}, {"generate": 2.0, "rank": 0.1}])
@pytest.mark.parametrize("gain", [None, (3.0, -1.0, 7.0)])
def test_it_is_drawn_with_any_part_missing(seconds, gain):
    assert stats_picture(seconds, gain).startswith(PNG)


def test_two_are_drawn_at_once_as_each_alone():
    alone = [stats_picture({"generate": n}, None) for n in (1.0, 2.0)]

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda n: stats_picture({"generate": n}, None), (1.0, 2.0)))

    assert together == alone
