"""What compressing the encoder costs and brings: ranking of held-out members, and time per reply.

The prior is fitted with each encoder on the same part of a set; members and groups outside that part are
ranked by heads on either encoder, so the difference is paired. Times are taken in turn in one run, so that a
busy machine slows both. Called by ``simpatico compress-encoder``; imports no storage.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from personalization.arrays import DoubleArray, FloatArray
from personalization.encoding.encoder import Encoder
from personalization.heads.heads import Prior
from personalization.lab.adapting.adaptation import ASKED_K
from personalization.lab.baselines import MEMBER_CAP, pool_of
from personalization.lab.datasets import Dataset
from personalization.lab.kept_out import score_jury, split_labels
from personalization.population.fit_prior import fit_prior
from personalization.settings import Device

TIMES = 3
"""Number of times that each text is encoded; the fastest counts."""


def held_out_metric(
    dataset: Dataset, features: FloatArray, starter: Prior, *, n_embedding: int, device: Device = "auto"
) -> DoubleArray:
    """Rank held-out members' replies with heads on these features. Blocks.

    Args:
        dataset: Judgements.
        features: Features of its texts, ``items x d`` float32.
        starter: Centre of the fit of the prior.
        n_embedding: Number of features that are the embedding.
        device: Device on which heads are solved.

    Returns:
        Concordance (accuracy for pairs) of each member, averaged over 0, 5 and 20 labels, in the same order
        for all features of the set; NaN for members who cannot be scored.
    """
    split = split_labels(dataset, np.arange(len(dataset.y)), 0)
    prior = fit_prior(
        pool_of(dataset, features, split.teach),
        starter,
        member_cap=MEMBER_CAP,
        device=device,
        n_embedding=n_embedding,
        calibrated=False,
    )
    jury = split.stop + split.judge
    scored = np.stack([score_jury(dataset, features, prior, jury, k, device)[1] for k in ASKED_K])  # (ks, u)
    found = np.full(len(jury), np.nan)
    here = ~np.isnan(scored).all(axis=0)
    found[here] = np.nanmean(scored[:, here], axis=0)
    return found


def milliseconds(encoders: Sequence[Encoder], texts: Sequence[str]) -> DoubleArray:
    """Measure the time for each text alone, the encoders in turn: ``texts x encoders``. Blocks."""
    found = np.empty((len(texts), len(encoders)))
    for row, text in zip(found, texts, strict=True):
        times = [[_encode_time(encoder, text) for encoder in encoders] for _ in range(TIMES)]
        row[:] = np.min(times, axis=0)
    return found


def _encode_time(encoder: Encoder, text: str) -> float:
    start = time.perf_counter()
    encoder.encode([text])
    return 1000 * (time.perf_counter() - start)
