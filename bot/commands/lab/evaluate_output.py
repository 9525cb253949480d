"""Formats the result of ``simpatico evaluate`` as Markdown tables.

Plain functions on the result of :func:`personalization.lab.evaluate.evaluate`. The picture of the same result
is drawn by :func:`bot.ui.charts.evaluation_picture`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from storage.wording import counted


def as_table(result: dict[str, Any]) -> str:
    """Format the result as Markdown.

    A cell holds the metric, its gain over ``global`` with the standard error, log loss and ECE. The figures
    of classification, the bandit and the starter follow.

    Args:
        result: The content of ``--json``.
    """
    seeds = counted(result["seeds"], "seed")
    lines = [f"{result['dataset']}: {result['metric']}, {result['members']} tested, {seeds}"]
    if "note" in result:
        lines.append(result["note"])
    if any(result["rows"].values()):
        lines += _table(result["rows"], _cell)
        lines += ["", _classification_heading(result), *_table(result["rows"], _classified)]
    for name, play in result.get("bandit", {}).items():
        if name != "estimates":
            lines.append(f"bandit {name}: like-rate {play['like_rate']:.3f}, regret {play['regret']:.2f}")
    if "starter" in result:
        lines += ["", *_first_replies(result["starter"])]
    return "\n".join(lines)


def _table(rows: dict[str, Any], cell: Callable[[dict[str, float | None] | None], str]) -> list[str]:
    """Format one table with a column for each k."""
    ks = sorted({int(k) for row in rows.values() for k in row})
    lines = ["", "| row | " + " | ".join(f"k = {k}" for k in ks) + " |", "|---" * (len(ks) + 1) + "|"]
    for name, row in rows.items():
        if row:
            lines.append(f"| {name} | " + " | ".join(cell(row.get(str(k))) for k in ks) + " |")
    return lines


def _classification_heading(result: dict[str, Any]) -> str:
    """Explain the second table: its figures, the threshold and the share of each class."""
    positives = next(iter(result["rows"]["global"].values()))["positives"]
    what = "the first of two replies is preferred" if result["metric"] == "accuracy" else "a reply is liked"
    return (
        f"Classification: accuracy / precision / recall / F1 / AUC, averaged over members. Positive: {what},"
        f" predicted from a probability of {result['threshold']:g} on. {positives:.0%} of the query labels"
        f" are positive, so the more frequent answer alone reaches an accuracy of"
        f" {max(positives, 1 - positives):.3f}."
    )


def _classified(cell: dict[str, float | None] | None) -> str:
    if cell is None:
        return "-"
    return " / ".join(_number(cell[name]) for name in ("accuracy", "precision", "recall", "f1", "auc"))


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
