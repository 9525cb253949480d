"""``simpatico fit-starter``: public judgements of chatbots' replies -> the prior that ships with the package.

Glue between the command line and :mod:`personalization.lab.fit_starter`. On the same machine the same set
gives the same bytes; run it again after any change of the features or of the model, and commit the file.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from bot.commands.evaluate import add_cache_argument, encode_set, steps
from bot.config import ConfigError, Settings
from personalization.encoding.encoder import Encoder
from personalization.heads.heads import starter_prior
from personalization.lab.datasets import read_dataset
from personalization.lab.fit_starter import fit_starter
from personalization.settings import LearningSettings


def add_fitting_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("folder", type=Path, help="judgements of at least three chatbots' replies (dbdc3)")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    add_cache_argument(parser)


def run_fitting(arguments: argparse.Namespace, settings: Settings, *, encoder: Encoder | None = None) -> None:
    """Fit, write, and say how it was chosen.

    Args:
        arguments: As declared by :func:`add_fitting_arguments`.
        settings: All sections.
        encoder: In place of the configured one.

    Raises:
        DatasetBroken: The folder is not in the format, or not of several chatbots.
        ConfigError: The file cannot be written.
        EncoderError: The encoder is missing or damaged.
    """
    if not arguments.out.parent.is_dir():
        raise ConfigError(f"--out {arguments.out}: expected a folder {arguments.out.parent}, found none")
    dataset = read_dataset(arguments.folder)
    features, encoded = encode_set(dataset, settings.personalization, arguments.cache, encoder)
    n_chatbots = len({group.split("/")[0] for group in dataset.groups})
    with steps(2 * n_chatbots + 1, "fitting") as progress:
        fitted = fit_starter(
            dataset,
            encoded,
            starter_prior(features, LearningSettings()),  # what ships depends on nobody's configuration
            n_embedding=features.n_embedding,
            device=settings.personalization.device,
            progress=progress,
        )
    body = fitted.prior.to_bytes()
    arguments.out.write_bytes(body)
    print("on a chatbot that was left out, by penalty on the mean:")
    for ridge, found in fitted.concordance.items():
        print(f"  {ridge:6g}  {found:.4f}" + ("  chosen" if ridge == fitted.ridge else ""))
    print(f"the mean is scaled by {fitted.scale:.3f}")
    print("heads on a chatbot and for people that were left out, by share of the plain spread:")
    for spread, found in fitted.by_spread.items():
        print(f"  {spread:6g}  {found:.4f}" + ("  chosen" if spread == fitted.spread else ""))
    print(f"{arguments.out}: {len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}")
