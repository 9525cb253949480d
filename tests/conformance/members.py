"""Members, priors and parameters that the conformance tests of heads, Newton's method and the prior share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from personalization.heads.heads import HeadBank, Prior
from personalization.population.fit_prior import Pool

DIM = 12
MEMBERS = pytest.mark.parametrize("u", [1, 2, 7])
DEVICES = pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")],
        ),
    ],
)


def some_prior(seed: int = 0, dim: int = DIM) -> Prior:
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=dim).astype(np.float16).astype(np.float32)
    variance = rng.uniform(0.3, 2.0, size=dim).astype(np.float32)
    return Prior(mean, variance, 0.25, 4.0, "f" * 32)


def some_members(u: int, seed: int = 1, dim: int = DIM):
    """Members of different sizes with graded labels: (features, values, weights) each."""
    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 15, size=u)]
    return [
        (
            rng.normal(size=(n, dim)).astype(np.float32),
            rng.choice([0.0, 0.25, 0.5, 1.0], size=n).astype(np.float32),
            rng.uniform(0.2, 2.0, size=n).astype(np.float32),
        )
        for n in sizes
    ]


def assert_same_heads(found: np.ndarray, exact: np.ndarray, message: str) -> None:
    """Equal up to the last digit that float16 keeps, where float32 arithmetic may round the other way."""
    exact = np.asarray(exact, np.float64)
    far = np.abs(found.astype(np.float64) - exact) - np.spacing(np.abs(exact).astype(np.float16))
    assert far.max() <= 1e-6, f"{message}: {found} is not {exact}"


def bodies(bank: HeadBank) -> list[bytes]:
    return [bank.head(i).to_bytes() for i in range(len(bank))]


def pool_of(members) -> Pool:
    X, y, w = (np.concatenate(parts) for parts in zip(*members, strict=True))
    return Pool(X, y, w, np.repeat(np.arange(len(members)), [len(y) for _, y, _ in members]))
