"""``simpatico compress-encoder``: write the configured encoder with int8 weights, and measure it on a set.

Connects the command line with :mod:`personalization.encoding.compressed` and
:mod:`personalization.lab.adapting.compression`. The folder is written first; then size, time per reply and
ranking of held-out members are printed beside those of the base. The compressed encoder is used by naming its
folder in ``config.toml``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from bot.config import ConfigError, Settings
from personalization.arrays import DoubleArray
from personalization.encoding.adapter import is_adapter
from personalization.encoding.compressed import WEIGHTS, compress, is_compressed
from personalization.encoding.encoder import load_model, load_packaged
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import starter_prior
from personalization.lab.adapting.compression import held_out_metric, milliseconds
from personalization.lab.datasets import Dataset, read_dataset
from personalization.lab.encoded_sets import encode_set
from personalization.score_quality import clustered_mean
from personalization.settings import LearningSettings
from storage.wording import counted

TIMED = 100
"""Most replies whose time is measured."""


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Compress the encoder, and print what that costs and brings.

    Raises:
        DatasetBroken: The folder is not in the format.
        ConfigError: An argument or the configured encoder cannot be used.
        EncoderError: The encoder cannot be loaded or compressed, or this build of torch cannot compute it.
        OSError: The folder cannot be written.
    """
    learning, out = settings.personalization, arguments.out
    if is_compressed(out):
        raise ConfigError(f"--out {out}: there is a compressed encoder already; choose another folder")
    for kind, is_of_kind in (("an adapter", is_adapter), ("a compressed encoder", is_compressed)):
        if is_of_kind(Path(learning.encoder)):
            raise ConfigError(f"[personalization] encoder: expected a base to compress, found {kind}")
    dataset = read_dataset(arguments.population)
    base = load_packaged() if learning.encoder == "packaged" else load_model(learning.encoder)
    compress(base, out)
    n_bytes = [sum(w.nbytes for w in base.model.state_dict().values()), (out / WEIGHTS).stat().st_size]
    print(f"Weights: {n_bytes[0] / 1e6:.1f} MB, compressed {n_bytes[1] / 1e6:.1f} MB")
    learning = replace(learning, device="cpu")
    print(_speed(dataset, learning, out))
    print(_ranking(dataset, learning, arguments.cache, out))
    print(
        f'To use it, set  encoder = "{out}"  under [personalization] and restart. A starter'
        " prior is fitted to it in the background; the plain prior answers until then."
    )


def _speed(dataset: Dataset, learning: LearningSettings, out: Path) -> str:
    """Describe the time per reply with both encoders, measured in turn."""
    encoders = [load_encoder(name, "cpu") for name in (learning.encoder, str(out))]
    texts = sorted(set(dataset.texts))
    found = milliseconds(encoders, texts[:: max(1, len(texts) // TIMED)][:TIMED])
    plain, small = np.median(found, axis=0)
    ratio = np.quantile(found[:, 0] / found[:, 1], (0.25, 0.5, 0.75))
    return (
        f"Time for a reply: {plain:.1f} ms, compressed {small:.1f} ms; ratio {ratio[1]:.2f}"
        f" (quartiles {ratio[0]:.2f} and {ratio[2]:.2f}, {counted(len(found), 'reply', 'replies')})"
    )


def _ranking(dataset: Dataset, learning: LearningSettings, cache: Path | None, out: Path) -> str:
    """Describe how held-out members' replies are ranked with both encoders."""
    metrics: list[DoubleArray] = []
    for name in (learning.encoder, str(out)):
        encoded = encode_set(dataset, replace(learning, encoder=name), cache)
        starter, n = starter_prior(encoded.features, learning), encoded.features.n_embedding
        metrics.append(held_out_metric(dataset, encoded.replies, starter, n_embedding=n, device="cpu"))
    people = np.arange(len(metrics[0]))
    plain, small = (clustered_mean(metric, people)[0] for metric in metrics)
    difference, error = clustered_mean(metrics[1] - metrics[0], people)
    n_members = int((~np.isnan(metrics[1] - metrics[0])).sum())
    return (
        f"Ranked correctly for {counted(n_members, 'held-out member')} (mean of 0, 5 and 20 labels):"
        f" {plain:.4f}, compressed {small:.4f}; difference {difference:+.4f} ± {error:.4f}"
    )
