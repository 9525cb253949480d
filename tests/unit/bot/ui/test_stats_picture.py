"""The picture of ``/stats``, with any part of its data missing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import discord
import numpy as np
import pytest

from bot.languages import LANGUAGES, speaking
from bot.ui import charts
from bot.ui.charts import replay_picture, stats_picture

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


@pytest.mark.parametrize(
    "locale", {language: locale for locale, language in LANGUAGES.items()}.values(), ids=str
)
def test_it_has_no_sign_that_the_font_lacks(locale, monkeypatch):
    seconds = dict.fromkeys(charts._PARTS, 1.0)
    monkeypatch.setattr(charts, "_installed", lambda: frozenset())

    with speaking(locale):  # Matplotlib warns of a sign without a glyph, and warnings are errors here
        assert stats_picture(seconds, None).startswith(PNG)
        assert replay_picture(np.ones(3, bool), np.zeros(3, bool)).startswith(PNG)


def test_it_is_in_the_language_where_a_font_for_it_is_installed(monkeypatch):
    language, locale = "ja", discord.Locale.japanese
    in_english = stats_picture({"rank": 1.0}, None)
    monkeypatch.setattr(charts, "_installed", lambda: frozenset(("DejaVu Sans Mono",)))
    without = stats_picture_in(locale)
    monkeypatch.setitem(charts._FONTS, language, ("Last Resort High-Efficiency",))
    monkeypatch.setattr(charts, "_installed", lambda: frozenset(("Last Resort High-Efficiency",)))

    assert without == in_english != stats_picture_in(locale)


def stats_picture_in(locale) -> bytes:
    with speaking(locale):
        return stats_picture({"rank": 1.0}, None)


def test_control_a_font_without_the_signs_is_noticed(monkeypatch):
    monkeypatch.setattr(charts, "_FONTS", {})

    with speaking(discord.Locale.japanese), pytest.warns(UserWarning, match="missing from font"):
        stats_picture({"rank": 1.0}, None)
