"""Figures of ``make bench-taste``: lift, gain and wins of each simulated member, and the report.

:mod:`tests.benchmarks.bench_taste` plays the members and explains the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bot.replies.decision import Decision
from personalization.arrays import DoubleArray
from tests.benchmarks.tastes import TASTES

COUNTS = (0, 3, 5, 10, 20, 40)
"""Numbers of reactions after which the bot is examined."""
NOTICED = 0.7
"""Share of wins from which a member notices."""
COIN = "coin tosser"


@dataclass(frozen=True, eq=False, slots=True)
class Examined:
    """What the bot would post to one member, for each message that is examined.

    Attributes:
        lift: Numerator and denominator of the lift, ``messages x 2``.
        values: Satisfaction with each candidate of each message.
        chances: Propensity of each candidate.
    """

    lift: DoubleArray
    values: tuple[DoubleArray, ...]
    chances: tuple[DoubleArray, ...]

    def expected(self) -> DoubleArray:
        """Return the expected satisfaction with each message's reply."""
        return np.array([v @ p for v, p in zip(self.values, self.chances, strict=True)])

    def wins_over(self, other: Examined) -> float:
        """Return how often a reply beats the other's reply to the same message; ties count half."""
        won = [
            p @ ((v[:, None] > w[None]) + 0.5 * (v[:, None] == w[None])) @ q
            for v, p, w, q in zip(self.values, self.chances, other.values, other.chances, strict=True)
        ]
        return float(np.mean(won))


def examined(decisions: Sequence[Decision], liking: Callable[[str], float]) -> Examined:
    """Judge what the bot would post by a member's satisfaction with each text."""
    values, chances, lift = [], [], []
    for decision in decisions:
        impression = decision.impression
        value = np.array([liking(text) for text in impression.candidates])
        chance = np.array(impression.propensities)
        values.append(value)
        chances.append(chance)
        lift.append((value @ chance - value.mean(), value.max() - value.mean()))
    return Examined(np.array(lift), tuple(values), tuple(chances))


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean over seeds; 0 for one seed."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0


def lift_of(results: Sequence[Examined]) -> float:
    """Return the lift over all messages of these results; 0 where no candidate is better than another."""
    above, best = np.concatenate([one.lift for one in results]).sum(axis=0)
    return float(above / best) if best > 1e-9 else 0.0


def summary(seeds: Sequence[Mapping[str, Mapping[int, Examined]]]) -> dict[str, Any]:
    """Return lift, gain and wins of each member, averaged over seeds: member -> figure -> number."""
    counts = list(seeds[0][COIN])
    rows: dict[str, Any] = {}
    for name in seeds[0]:
        lift, gain, wins = {}, {}, {}
        for n in counts:
            ours = [seed[name][n] for seed in seeds]
            lift[n] = lift_of(ours)
            before = [seed[name][0] for seed in seeds]
            pairs = list(zip(ours, before, strict=True))
            gain[n] = float(np.mean([(a.expected() - b.expected()).mean() for a, b in pairs]))
            wins[n] = float(np.mean([a.wins_over(b) for a, b in pairs]))
        noticed = next((n for n in counts if wins[n] >= NOTICED), None)
        rows[name] = {"lift": lift, "gain": gain, "wins": wins, "noticed": noticed}
    named = [rows[taste.name] for taste in TASTES]
    everybody = {
        figure: {n: float(np.mean([row[figure][n] for row in named])) for n in counts}
        for figure in ("lift", "gain", "wins")
    }
    by_seed = {
        n: [float(np.mean([lift_of([seed[t.name][n]]) for t in TASTES])) for seed in seeds] for n in counts
    }
    everybody["lift_se"] = {n: standard_error(values) for n, values in by_seed.items()}
    noticed = next((n for n in counts if everybody["wins"][n] >= NOTICED), None)
    return {"members": rows, "all tastes": everybody | {"noticed": noticed}}


def show(found: Mapping[str, Any], what: str = "reactions") -> None:
    """Print the report as Markdown tables, by the number of reactions or taps."""
    everybody, rows = found["all tastes"], found["members"]
    counts = list(everybody["lift"])
    kinds = {taste.name: taste.kind for taste in TASTES}
    for figure in ("lift", "gain"):
        print(f"\n| {figure} after {what} | kind |" + "".join(f" {n} |" for n in counts))
        print("|---|---|" + "---|" * len(counts))
        for name, row in rows.items():
            print(
                f"| {name} | {kinds.get(name, 'none')} |"
                + "".join(f" {row[figure][n]:+.2f} |" for n in counts)
            )
        print("| **all tastes** | |" + "".join(f" **{everybody[figure][n]:+.2f}** |" for n in counts))
        style = [row[figure] for name, row in rows.items() if kinds.get(name, "topic") != "topic"]
        print("| tastes of style | |" + "".join(f" {np.mean([r[n] for r in style]):+.2f} |" for n in counts))
    print("\n| wins over a first reply |" + "".join(f" {n} |" for n in counts))
    print("|---|" + "---|" * len(counts))
    print("| all tastes |" + "".join(f" {everybody['wins'][n]:.2f} |" for n in counts))
    noticed = everybody["noticed"]
    print(
        f"\nA member notices after {noticed} {what}."
        if noticed is not None
        else f"\nA member does not notice within {max(counts)} {what}."
    )
