"""What others would use for a head per member: one scikit-learn or Vowpal Wabbit model for each.

Each peer is given its best case: scikit-learn without threads of BLAS, which on problems of this size only
wait for each other; Vowpal Wabbit with examples that it has parsed before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import vowpalwabbit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.floating]
Peer = Callable[[Floats, Floats, Floats], tuple[Floats, float, float]]
"""Features, labels, features held out -> probabilities, seconds on the wall, seconds of the processor."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One member: labels given to the head, and labels held out."""

    X: Floats
    y: Floats
    held_X: Floats
    held_y: Floats


def sklearn_peer(**options: object) -> Peer:
    """A ``LogisticRegression`` per member; it cannot learn from labels that are all alike."""

    def fit(X: Floats, y: Floats, held_X: Floats) -> tuple[Floats, float, float]:
        if len(np.unique(y)) < 2:
            return np.full(len(held_X), (y.sum() + 1) / (len(y) + 2)), np.nan, np.nan
        with threadpool_limits(1):
            wall, busy = time.perf_counter(), time.process_time()
            model = LogisticRegression(**options).fit(X, y)
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
        return model.predict_proba(held_X)[:, 1], wall, busy

    return fit


def vowpal_peer(passes: int) -> Peer:
    """A Vowpal Wabbit model per member: opening it and learning, without reading text."""

    def line(row: Floats) -> str:
        return "|f " + " ".join(f"{j}:{value:.6g}" for j, value in enumerate(row))

    def fit(X: Floats, y: Floats, held_X: Floats) -> tuple[Floats, float, float]:
        wall, busy = time.perf_counter(), time.process_time()
        model = vowpalwabbit.Workspace("--loss_function logistic --link logistic -b 10 --quiet")
        opened = time.perf_counter() - wall, time.process_time() - busy
        rows = [model.parse(f"{1 if label else -1} {line(row)}") for row, label in zip(X, y, strict=True)]
        wall, busy = time.perf_counter(), time.process_time()
        for _ in range(passes):
            for row in rows:
                model.learn(row)
        wall, busy = time.perf_counter() - wall + opened[0], time.process_time() - busy + opened[1]
        for row in rows:
            model.finish_example(row)
        p = np.array([model.predict(line(row)) for row in held_X])
        model.finish()
        return p, wall, busy

    return fit


PEERS: dict[str, Peer] = {
    "scikit-learn LogisticRegression()": sklearn_peer(),
    "scikit-learn LogisticRegression(C=0.1)": sklearn_peer(C=0.1),
    "scikit-learn LogisticRegression(C=0.1, solver='liblinear')": sklearn_peer(C=0.1, solver="liblinear"),
    "Vowpal Wabbit, 1 pass": vowpal_peer(1),
    "Vowpal Wabbit, 5 passes": vowpal_peer(5),
}


def log_loss(p: Floats, y: Floats) -> float:
    """Mean log loss, probabilities kept off 0 and 1."""
    p = np.clip(np.asarray(p, np.float64), 1e-6, 1 - 1e-6)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
