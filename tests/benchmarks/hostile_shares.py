"""Measures how far hostile accounts move what members share, by their number and place.

Run ``python -m tests.benchmarks.hostile_shares``; it prints the rows of docs/learning.md.
"""

from __future__ import annotations

import numpy as np

from personalization.labels import emoji_meanings
from personalization.population import server_shifts
from personalization.rounds import teaching
from personalization.sharing import shares
from tests.rig.crowds import WAYS, Crowds, emoji_of, loss_of

PARTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def main() -> None:
    """Print one row for each place of the hostile accounts, with the rule and without it."""
    for name, rule in (("capped", shares), ("uncapped", _all)):
        for module in (emoji_meanings, server_shifts, teaching):
            setattr(module, "shares", rule)  # noqa: B010
        crowds = Crowds(n_honest=40)
        before = loss_of(crowds.taught(0, WAYS[0]), crowds.strangers)
        for how in WAYS:
            row = []
            for part in PARTS:
                prior = crowds.taught(round(40 * part / (1 - part)), how)
                rise = loss_of(prior, crowds.strangers) - before
                row.append(f"{rise:+.3f} / {emoji_of(prior, crowds.emoji).value:.2f}")
            print(f"| {how}, {name} | " + " | ".join(row) + " |", flush=True)


def _all(weights, owners, *, most, min_members):
    return np.ones(len(weights)) if len(weights) >= min_members else None


if __name__ == "__main__":
    main()
