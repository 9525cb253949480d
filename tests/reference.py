"""Slow and simple NumPy versions of computations in ``personalization``, for comparison in tests."""

from __future__ import annotations

import numpy as np


def map_head(X, y, weight, mean, variance, bias_mean, bias_variance):
    """One member's most probable (weights, intercept), by Newton on the d + 1 parameters in float64."""
    X = np.hstack([np.asarray(X, float), np.ones((len(y), 1))])
    y, weight = np.asarray(y, float), np.asarray(weight, float)
    start = np.append(mean, bias_mean).astype(float)
    precision = 1 / np.append(variance, bias_variance).astype(float)

    def loss(theta):
        f = X @ theta
        return np.sum(weight * (np.logaddexp(0, f) - y * f)) + np.sum(precision * (theta - start) ** 2) / 2

    theta = start.copy()
    # Written out here and not taken from personalization.solving.newton, which is checked against it.
    for _ in range(500):
        p = 1 / (1 + np.exp(-(X @ theta)))
        gradient = X.T @ (weight * (p - y)) + precision * (theta - start)
        hessian = X.T @ np.diag(weight * p * (1 - p)) @ X + np.diag(precision)
        if np.abs(gradient).max() < 1e-12:
            break
        step, t = np.linalg.solve(hessian, gradient), 1.0
        while loss(theta - t * step) > loss(theta) and t > 1e-9:
            t /= 2
        theta = theta - t * step
    return theta[:-1], theta[-1]


def mean_pooling(states, mask):
    """Return the masked mean of the token vectors, scaled to length 1, one text at a time."""
    rows = []
    for tokens, here in zip(states, mask, strict=True):
        mean = np.mean([token for token, is_here in zip(tokens, here, strict=True) if is_here], axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows)
