"""Draws the picture of lift by reactions for ``docs/learning.md`` from a recorded ``make bench-taste``.

``python -m tests.benchmarks.taste_picture docs/evaluation/taste.json docs/lift.png`` draws the picture and
prints the table that stands below it. The thick line is the mean over all tastes, the thin lines are the
means of each kind of taste, and the grey line is the member who tosses coins.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.ui.charts import AVERAGE, GRID, OWN, figure_of, png_of
from tests.benchmarks.taste_report import COIN
from tests.benchmarks.tastes import TASTES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = tuple(dict.fromkeys(taste.kind for taste in TASTES))
COLOURS = dict(zip(KINDS, ("#56B4E9", "#009E73", "#E69F00", "#CC79A7", "#D55E00", "#7F6A00"), strict=True))
"""Okabe and Ito's colours; the yellow is darker, so that it shows on white."""
SIX = "6"


def lift_by_kind(recorded: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the mean lift of each kind of taste after each number of reactions."""
    counts = recorded["all tastes"]["lift"]
    members = {kind: [taste.name for taste in TASTES if taste.kind == kind] for kind in KINDS}
    return {
        kind: [float(np.mean([recorded["members"][name]["lift"][n] for name in names])) for n in counts]
        for kind, names in members.items()
    }


def table(recorded: Mapping[str, Any]) -> str:
    """Return lift and wins of all tastes, and the lift of the coin tosser, as a Markdown table."""
    everybody = recorded["all tastes"]
    rows: dict[str, Mapping[str, float]] = {
        "lift, all tastes": everybody["lift"],
        "lift, a member who tosses coins": recorded["members"][COIN]["lift"],
        "share of comparisons with a first reply that are won": everybody["wins"],
    }
    lines = [
        f"| {name} |" + "".join(f" {value:.2f} |".replace("0.", ".", 1) for value in values.values())
        for name, values in rows.items()
    ]
    head = "| after reactions |" + "".join(f" {n} |" for n in everybody["lift"])
    return "\n".join([head, "|---|" + "---|" * len(everybody["lift"]), *lines])


def lift_figure(recorded: Mapping[str, Any]) -> Figure:
    """Draw lift by the number of reactions, and the lift after six taps as a diamond."""
    everybody = recorded["all tastes"]
    counts = list(everybody["lift"])
    places = np.arange(len(counts))
    figure = figure_of(8, 4.4)
    axes = figure.subplots()
    lift, error = list(everybody["lift"].values()), list(everybody["lift_se"].values())
    axes.plot(places, lift, "o-", color=OWN, linewidth=3, zorder=3, label=f"all {len(TASTES)} tastes")
    axes.errorbar(places, lift, yerr=error, fmt="none", color="black", linewidth=1, capsize=4, zorder=4)
    if taps := recorded.get("taps"):
        axes.plot([0], [taps["all tastes"]["lift"][SIX]], "D", color=OWN, label="... after six taps alone")
    for kind, of_kind in lift_by_kind(recorded).items():
        axes.plot(places, of_kind, color=COLOURS[kind], linewidth=1, label=f"kind: {kind}")
    coin = list(recorded["members"][COIN]["lift"].values())
    axes.plot(places, coin, color=AVERAGE, linestyle="--", label="a member who tosses coins")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xticks(places, counts)
    axes.set(xlabel="reactions of the member", ylabel="lift (0: random, 1: always the best candidate)")
    axes.grid(color=GRID)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    return figure


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recorded", type=Path, help="what bench_taste wrote with --json")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args(words)
    recorded = json.loads(arguments.recorded.read_text("utf-8"))
    arguments.picture.write_bytes(png_of(lift_figure(recorded)))
    print(table(recorded))


if __name__ == "__main__":
    main()
