"""``simpatico fit-starter``: fit the shipped prior on public judgements of chatbots' replies.

Connects the command line with :mod:`personalization.lab.fit_starter`. The same set gives the same bytes on
the same machine. Run it again after any change of the features or of the encoder, and commit the file.
"""

from __future__ import annotations

import argparse
import hashlib

from bot.commands.lab.evaluate import encode_set, steps
from bot.config import ConfigError, Settings
from personalization.encoding.encoder import Encoder
from personalization.heads.heads import starter_prior
from personalization.lab.datasets import read_dataset
from personalization.lab.fit_starter import fit_starter
from personalization.settings import LearningSettings
from storage.wording import counted


def run(arguments: argparse.Namespace, settings: Settings, *, encoder: Encoder | None = None) -> None:
    """Fit the prior, write it, and print how its penalties were chosen.

    Args:
        arguments: As declared by :func:`add_parser`.
        settings: All sections.
        encoder: Replaces the configured one.

    Raises:
        DatasetBroken: The folder is not in the format, or does not hold several chatbots.
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
            # Default settings: the shipped prior must not depend on a configuration. What may be loud is
            # added when it is read (:mod:`personalization.heads.starter`).
            starter_prior(features, LearningSettings(loud_sd=0)),
            n_embedding=features.n_embedding,
            device=settings.personalization.device,
            progress=progress,
        )
    body = fitted.prior.to_bytes()
    arguments.out.write_bytes(body)
    print("concordance on a held-out chatbot, by penalty on the mean:")
    for ridge, found in fitted.concordance.items():
        print(f"  {ridge:6g}  {found:.4f}" + ("  chosen" if ridge == fitted.ridge else ""))
    print(f"the mean is scaled by {fitted.scale:.3f}")
    print("heads on held-out chatbots and people, by share of the plain spread:")
    for spread, found in fitted.by_spread.items():
        print(f"  {spread:6g}  {found:.4f}" + ("  chosen" if spread == fitted.spread else ""))
    print(f"{arguments.out}: {counted(len(body), 'byte')}, SHA-256 {hashlib.sha256(body).hexdigest()}")
