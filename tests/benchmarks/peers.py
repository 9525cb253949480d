"""Peers of the benchmark: one scikit-learn or Vowpal Wabbit model per member.

Each peer gets its best case. scikit-learn runs without BLAS threads, which only wait for each other on
problems of this size. Vowpal Wabbit parses its examples before the clock starts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import vowpalwabbit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.floating]
Peer = Callable[[Floats, Floats, Floats], tuple[Floats, float, float]]
"""Features, labels, held-out features -> probabilities, wall seconds, CPU seconds."""


def sklearn_peer(**options: object) -> Peer:
    """One ``LogisticRegression`` per member; with all labels equal it cannot learn, and its times are NaN."""

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
    """One Vowpal Wabbit model per member; times cover opening and learning, without parsing text."""

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
    """Mean log loss; probabilities are clipped to [1e-6, 1 - 1e-6]."""
    p = np.clip(np.asarray(p, np.float64), 1e-6, 1 - 1e-6)
    return float(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean())
