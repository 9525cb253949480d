"""Compares the time of a ranking with that of the bare forward pass it needs; prints the ratio.

``python -m tests.benchmarks.bench_rank [--rounds 40]``. Both alternate in the same run, because absolute
times on shared machines mean little.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import transformers

from personalization.encoding.encoder import _packaged_folder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import starter_prior
from personalization.ranking.ranker import Ranker
from personalization.settings import LearningSettings

MESSAGE = "What should I cook tonight with chicken and rice?"
CANDIDATES = [
    "Try a simple chicken fried rice!",
    "You could make a one-pot casserole. Brown the chicken first, add onion and garlic, then the rice "
    "and stock, and let it simmer for twenty minutes until everything is tender. Thyme goes well with it.",
    "Chicken + rice = destiny 🍗🍚😄 Go for a spicy stir fry!",
    "That sounds cosy. How about a warm chicken soup with rice? Do you like ginger in it?",
]


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def bare_forward() -> Callable[[], object]:
    """Return the lower bound: one padded forward pass of the five texts, directly in transformers."""
    folder = str(_packaged_folder())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()

    def forward() -> object:
        with torch.inference_mode():
            return model(
                **tokenizer([MESSAGE, *CANDIDATES], padding=True, truncation=True, return_tensors="pt")
            )

    return forward


def bench_rank(rounds: int) -> None:
    """Print the ratio of a whole ranking to the bare forward pass of the same five texts."""
    settings = LearningSettings(device="cpu")
    features = FeatureMap(load_encoder("packaged", "cpu"))
    prior = starter_prior(features, settings)

    async def no_head(_: object) -> None:
        return None

    ranker = Ranker(features, settings, no_head, prior, np.random.default_rng(0))
    forward = bare_forward()
    with asyncio.Runner() as runner:

        def rank() -> object:
            return runner.run(ranker.rank(None, MESSAGE, CANDIDATES))

        pairs = [(seconds(rank), seconds(forward)) for _ in range(rounds + 3)][3:]
    ranker.close()
    ranked, bare = (statistics.median(times) * 1e3 for times in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    print(
        f"rank 4 candidates: {ranked:.1f} ms, bare forward pass: {bare:.1f} ms, ratio {ratio:.2f} (bar: 1.3)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    bench_rank(arguments.rounds)
