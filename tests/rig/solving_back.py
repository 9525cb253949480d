"""Solves for the prior from what a member can export: the attack of P5 on stored choices.

The attacker knows the texts, the encoder and the settings. Every exact score is a linear measurement of the
head that made it, so a few dozen replies give the whole head. From the file of a member the attacker takes
what is left: the posted texts, and the sign of each stored reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from personalization.encoding.features import STYLE_FEATURES, FeatureMap
from personalization.heads.heads import Head
from tests.rig.membership import betrayal

RIDGE = 1e-3


def solved_head(rows: Sequence[dict[str, Any]], features: FeatureMap, bound: float) -> np.ndarray:
    """Estimate the weights of the prior from a member's exported replies, ``d``."""
    A, b = [], []
    for row in rows:
        decision = row["decision"]
        X = features.features(row["texts"]).astype(np.float64)  # (k, d)
        if "prior_scores" in decision:
            scores = np.array(decision["prior_scores"])
            A.extend(X - X.mean(axis=0))
            b.extend(bound * np.arctanh(np.clip(scores / bound, -0.999999, 0.999999)))
        else:  # only the posted one is there
            A.append(X[0])
            b.append(1.0)
        for name, amount, difference in (decision["reason"] or {"parts": ()})["parts"]:
            if name in STYLE_FEATURES and difference:
                e = np.zeros(X.shape[1])
                e[X.shape[1] - len(STYLE_FEATURES) + STYLE_FEATURES.index(name)] = 1.0
                A.append(e)
                b.append(amount / difference)
    M = np.array(A)
    return np.linalg.solve(M.T @ M + RIDGE * np.eye(M.shape[1]), M.T @ np.array(b))


def told(weights: np.ndarray, X: np.ndarray, liked: Sequence[bool], features: FeatureMap) -> float:
    """Return how well the solved weights rank a member's clicks, as a z-score."""
    head = Head(weights.astype(np.float16), 0.0, features.feature_id, "")
    return betrayal(head, X, liked)
