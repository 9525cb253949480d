"""Formats the result of ``simpatico evaluate`` as Markdown tables.

Plain functions on the result of :func:`personalization.lab.evaluate.evaluate`. The picture of the same result
is drawn by :func:`bot.ui.charts.evaluation_picture`.
"""

from __future__ import annotations

from typing import Any

from storage.wording import counted


def as_table(result: dict[str, Any]) -> str:
    """Format the result as Markdown.

    A cell holds the metric, its gain over ``global`` with the standard error, log loss and ECE. Bandit and
    starter results follow.

    Args:
        result: The content of ``--json``.
    """
    seeds = counted(result["seeds"], "seed")
    lines = [f"{result['dataset']}: {result['metric']}, {result['members']} tested, {seeds}"]
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


def _cell(cell: dict[str, float | None] | None) -> str:
    if cell is None:
        return "-"
    gain = f"{_number(cell['gain'], '+.3f')} ± {_number(cell['gain_se'])}"
    return f"{_number(cell['metric'])} ({gain}), {_number(cell['log_loss'])}, {_number(cell['ece'])}"


def _first_replies(found: dict[str, Any]) -> list[str]:
    """Format how the running bot would rank first replies, by the shipped prior and relevance."""
    lines = [
        f"First replies on a new server: {found['metric']} over {counted(found['members'], 'member')}"
        f" (at random 0.500), weight of relevance {found['relevance_weight']:g}"
        + (f"; {found['note']}" if "note" in found else ""),
        "",
        "| row | mean | ± people | ± texts |",
        "|---|---|---|---|",
    ]
    for name, row in found["rows"].items():
        figures = " | ".join(_number(row[key]) for key in ("mean", "se", "se_texts"))
        lines.append(f"| {name} | {figures} |")
    return lines


def _number(value: float | None, how: str = ".3f") -> str:
    return "-" if value is None else format(value, how)
