"""What ``simpatico evaluate`` shows: the figures as a table and as a picture.

Plain functions on the result of :func:`personalization.evaluate.evaluate`. Matplotlib is loaded only for a
picture and comes with the extra ``evaluate``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any


def as_table(result: dict[str, Any]) -> str:
    """Write Markdown: metric, gain over global with its standard error, log loss, ECE; then the rest.

    Args:
        result: What ``--json`` writes.
    """
    lines = [f"{result['dataset']}: {result['metric']}, {result['members']} tested, {result['seeds']} seeds"]
    if "note" in result:
        lines.append(result["note"])
    ks = sorted({int(k) for row in result["rows"].values() for k in row})
    if ks:
        lines += ["", "| row | " + " | ".join(f"k = {k}" for k in ks) + " |", "|---" * (len(ks) + 1) + "|"]
    for name, row in result["rows"].items():
        if row:
            lines.append(f"| {name} | " + " | ".join(_cell(row.get(str(k))) for k in ks) + " |")
    for name, play in result.get("bandit", {}).items():
        if name != "estimates":
            lines.append(f"bandit {name}: like-rate {play['like_rate']:.3f}, regret {play['regret']:.2f}")
    if "starter" in result:
        lines += ["", *_first_replies(result["starter"])]
    return "\n".join(lines)


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw the gain over the global head by k, with standard errors, as a picture.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    rows = {name: row for name, row in result["rows"].items() if row}
    ks = sorted({int(k) for row in rows.values() for k in row})
    for name, row in rows.items():
        places = [i for i, k in enumerate(ks) if str(k) in row]
        gains, errors = ([_number(row[str(ks[i])][figure]) for i in places] for figure in ("gain", "gain_se"))
        axes.errorbar(places, gains, yerr=errors, label=name, marker="o", capsize=3)
    axes.set_xticks(range(len(ks)), [str(k) for k in ks])
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("labels of the member (k)")
    axes.set_ylabel(f"gain in {result['metric']} over the global head")
    axes.set_title(f"{result['dataset']}, {result['members']} members, mean and standard error")
    if rows:
        axes.legend()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _cell(cell: dict[str, float | None] | None) -> str:
    if cell is None:
        return "-"
    gain = f"{_told(cell['gain'], '+.3f')} ± {_told(cell['gain_se'])}"
    return f"{_told(cell['metric'])} ({gain}), {_told(cell['log_loss'])}, {_told(cell['ece'])}"


def _first_replies(found: dict[str, Any]) -> list[str]:
    """Write how the prior that ships ranks first replies."""
    lines = [
        f"First replies on a new server: {found['metric']} over {found['members']} members"
        " (at random 0.500)" + (f"; {found['note']}" if "note" in found else ""),
        "",
        "| row | mean | ± people | ± texts |",
        "|---|---|---|---|",
    ]
    for name, row in found["rows"].items():
        figures = " | ".join(_told(row[key]) for key in ("mean", "se", "se_texts"))
        lines.append(f"| {name} | {figures} |")
    return lines


def _told(value: float | None, how: str = ".3f") -> str:
    return "-" if value is None else format(value, how)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
