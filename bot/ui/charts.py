"""Charts for members and operators, drawn in memory; the only home of matplotlib in this package.

Figures are made without pyplot, whose global state is not thread-safe. The colours are safe for colour-blind
readers. Nothing is written to disk. matplotlib is imported with the first chart, in the thread that draws it.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

import discord
import numpy as np

from bot.languages import current_language, mark, speaking, tr, trn
from personalization.arrays import BoolArray
from personalization.insight.taste import Replay
from storage.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN, AVERAGE, GRID = "#0072B2", "#999999", "#dddddd"
"""Okabe and Ito's blue for the member's own head, grey for the average."""

_PARTS = {
    "wait": mark("wait"),
    "consent": mark("consent"),
    "generate": mark("generate"),
    "filter": mark("filter"),
    "rank": mark("rank"),
    "post": mark("post"),
}
"""Part of the time of a reply, as measured -> its name."""

_FONTS = {
    "zh_CN": (
        "Noto Sans CJK SC",
        "Noto Sans SC",
        "Source Han Sans SC",
        "Microsoft YaHei",
        "PingFang SC",
        "SimHei",
    ),
    "ja": ("Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "Yu Gothic", "Hiragino Sans", "Meiryo"),
    "ko": ("Noto Sans CJK KR", "Noto Sans KR", "Source Han Sans KR", "Malgun Gothic", "Apple SD Gothic Neo"),
}
"""Language whose signs Matplotlib's own font lacks -> fonts that have them, best first."""


def figure_of(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, which is drawn without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_of(figure: Figure, dpi: int = 120) -> bytes:
    """Render a figure as PNG. Blocks."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def stats_picture(seconds: Mapping[str, float], gain: tuple[float, float, float] | None) -> bytes:
    """Draw the chart of ``/stats`` as PNG: time of a reply by part, uplift. Blocks.

    Args:
        seconds: Part of a reply -> mean time in seconds, in order.
        gain: Uplift of heads in liked replies per 100, and the ends of its interval; None: not known.
    """
    with _drawable() as font:
        figure = _stats_figure(seconds, gain)
    return png_of(_in_font(figure, font))


def _stats_figure(seconds: Mapping[str, float], gain: tuple[float, float, float] | None) -> Figure:
    figure = figure_of(6, 2.8)
    times, brings = figure.subplots(1, 2, width_ratios=(2, 1.4))
    times.barh([tr(_PARTS.get(part, part)) for part in seconds], list(seconds.values()), color=OWN)
    times.invert_yaxis()
    times.set(title=tr("time of a reply"), xlabel=tr("seconds, mean"))
    brings.axhline(0, color=AVERAGE, linestyle="--", linewidth=1)
    if gain is not None:
        value, low, high = gain
        brings.errorbar([0], [value], yerr=[[value - low], [high - value]], fmt="o", color=OWN, capsize=6)
    else:
        brings.text(0.5, 0.6, tr("not known yet"), ha="center", transform=brings.transAxes, color=AVERAGE)
    brings.set(title=tr("what personal ranking brings"), ylabel=tr("liked in 100"), xticks=[])
    for axes in (times, brings):
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(10)
        axes.tick_params(labelsize=8)
    return figure


def replay_picture(own: BoolArray, average: BoolArray) -> bytes:
    """Draw the cumulative accuracy of head and average, label by label, as PNG. Blocks.

    Args:
        own: Whether the member's head, trained on the earlier labels only, predicted each label (n).
        average: Whether the average taste predicted each label (n).
    """
    with _drawable() as font:
        figure = _replay_figure(own, average)
    return png_of(_in_font(figure, font))


def _replay_figure(own: BoolArray, average: BoolArray) -> Figure:
    figure = figure_of(5, 2.6)
    axes = figure.subplots()
    n = np.arange(1, len(own) + 1)
    axes.plot(
        n, 100 * np.cumsum(average) / n, color=AVERAGE, linestyle="--", label=tr("what most people like")
    )
    axes.plot(n, 100 * np.cumsum(own) / n, color=OWN, linewidth=2, label=tr("my picture of your taste"))
    axes.set(
        xlabel=tr("your latest reactions, oldest first"),
        ylabel=tr("predicted right so far (%)"),
        ylim=(0, 102),
    )
    axes.locator_params("x", integer=True)
    axes.grid(color=GRID)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    return figure


def evaluation_picture(result: dict[str, Any]) -> bytes:
    """Draw the gain over the global head by number of labels, with standard errors, as a PNG. Blocks.

    Args:
        result: The output of ``simpatico evaluate --json``.
    """
    figure = figure_of(7, 4.2)
    axes = figure.subplots()
    rows = {name: row for name, row in result["rows"].items() if row}
    ks = sorted({int(k) for row in rows.values() for k in row})
    for name, row in rows.items():
        places = [i for i, k in enumerate(ks) if str(k) in row]
        cells = [row[str(ks[i])] for i in places]
        gains, errors = ([_nan_for_none(cell[key]) for cell in cells] for key in ("gain", "gain_se"))
        axes.errorbar(places, gains, yerr=errors, label=name, marker="o", capsize=3)
    axes.set_xticks(range(len(ks)), [str(k) for k in ks])
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("labels of the member (k)")
    axes.set_ylabel(f"gain in {result['metric']} over the global head")
    axes.set_title(f"{result['dataset']}, {counted(result['members'], 'member')}, mean and standard error")
    if rows:
        axes.legend()
    return png_of(figure, dpi=130)


@contextmanager
def _drawable() -> Iterator[str | None]:
    """Speak English while the body runs if no font for the current language is installed.

    Yields:
        The font beside Matplotlib's own; None: none is needed, or none is installed.
    """
    wanted = _FONTS.get(current_language(), ())
    font = next((name for name in wanted if name in _installed()), None)
    with speaking(None) if wanted and font is None else nullcontext():
        yield font


@cache
def _installed() -> frozenset[str]:
    from matplotlib import font_manager

    return frozenset(font_manager.get_font_names())


def _in_font(figure: Figure, font: str | None) -> Figure:
    """Set every text of a figure in Matplotlib's own font, and in ``font`` where that has no sign."""
    if font is not None:
        from matplotlib import rcParams
        from matplotlib.text import Text

        for text in figure.findobj(Text):
            text.set_fontfamily([*rcParams["font.sans-serif"][:1], font])
    return figure


def _nan_for_none(value: float | None) -> float:
    return math.nan if value is None else value


async def attachments_of(
    replay: Replay | None, shown: discord.Message | None
) -> list[discord.File] | list[discord.Attachment]:
    """Return the chart of the ``/feedback`` panel; an attachment is kept while its content is the same."""
    if replay is None:
        return []
    described = trn(
        "Of your latest {n} reaction, my picture of your taste would have predicted {own} correctly."
        " What most people like would have predicted {average}.",
        "Of your latest {n} reactions, my picture of your taste would have predicted {own} correctly."
        " What most people like would have predicted {average}.",
        len(replay.own),
        own=replay.own.sum(),
        average=replay.average.sum(),
    )
    drawn = hashlib.sha256(replay.own.tobytes() + replay.average.tobytes() + described.encode())
    name = f"predictions-{drawn.hexdigest()[:12]}.png"
    if there := [one for one in (shown.attachments if shown else ()) if one.filename == name]:
        return there
    png = await asyncio.to_thread(replay_picture, replay.own, replay.average)
    return [discord.File(io.BytesIO(png), name, description=described)]
