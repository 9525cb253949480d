"""Judgements as preferences: which of two replies the same member rated higher.

Both kinds of sets, single labels and pairs, become the same thing, so that they can be measured and fitted
together. A member's threshold, which differs far more between people than their taste, does not appear in it.
Used by :mod:`personalization.lab.first_replies` and the fit of the starter's mean; NumPy only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from personalization.arrays import BoolArray, IntArray
from personalization.lab.datasets import Dataset


def preferences(dataset: Dataset, here: BoolArray | None = None) -> Iterator[tuple[int, IntArray]]:
    """Yield each member's preferences, member by member.

    Args:
        dataset: The judgements; a pair of equal labels is no preference.
        here: Labels to use, ``n`` bool; None: all.

    Yields:
        The member, index into ``users``, and the items of the reply rated higher and of the one rated lower,
        ``m x 2`` int64. Members without a preference are skipped.
    """
    labels = np.arange(len(dataset.y)) if here is None else np.flatnonzero(here)
    order = labels[np.argsort(dataset.user[labels], kind="stable")]
    for own in np.split(order, np.flatnonzero(np.diff(dataset.user[order])) + 1):
        item, y = dataset.item[own], dataset.y[own]
        if dataset.pairwise:
            pairs = np.where((y > 0.5)[:, None], item, item[:, ::-1])
        else:
            higher, lower = np.nonzero(y[:, None] > y[None, :])
            pairs = np.stack([item[higher, 0], item[lower, 0]], axis=1)
        if len(pairs):
            yield int(dataset.user[own[0]]), pairs
