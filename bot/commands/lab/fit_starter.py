"""``simpatico fit-starter``: fit the shipped prior on public judgements of several sources.

Connects the command line with :mod:`personalization.lab.fit_starter`. The same sets give the same bytes on
the same machine. Run it again after any change of the features or of the encoder, and commit the file.
"""

from __future__ import annotations

import argparse
import hashlib

from bot.commands.lab.encoded_sets import encode_set
from bot.commands.lab.evaluate import steps
from bot.config import ConfigError, Settings
from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import starter_prior
from personalization.lab.datasets import read_dataset
from personalization.lab.fit_starter import FittedStarter, fit_starter
from personalization.lab.preference_moments import Source
from personalization.lab.starter_mean import RECIPE, MeanFit, Measured
from personalization.settings import LearningSettings
from storage.wording import counted


def run(arguments: argparse.Namespace, settings: Settings, *, encoder: Encoder | None = None) -> None:
    """Fit the prior, write it, and print how its choices rank.

    Args:
        arguments: As declared by :func:`add_parser`.
        settings: All sections.
        encoder: Replaces the configured one.

    Raises:
        DatasetBroken: A folder is not in the format, or the first one does not hold several chatbots.
        ConfigError: The file cannot be written, or a set is given twice.
        EncoderError: The encoder is missing or damaged.
    """
    if not arguments.out.parent.is_dir():
        raise ConfigError(f"--out {arguments.out}: expected a folder {arguments.out.parent}, found none")
    sets = [read_dataset(folder) for folder in arguments.folders]
    if len({dataset.name for dataset in sets}) < len(sets):
        raise ConfigError("expected different sets, found one twice")
    learning = settings.personalization
    encoder = encoder or load_encoder(learning.encoder, learning.device)
    encoded = [encode_set(dataset, learning, arguments.cache, encoder) for dataset in sets]
    sources = [Source.of(one.dataset, one.replies, one.relevance()) for one in encoded]
    features = encoded[0].features
    if arguments.compare:
        _compare(sources, features)
    n_chatbots = len({group.split("/")[0] for group in sets[0].groups})
    with steps(len(sets) + n_chatbots + 2, "fitting") as progress:
        fitted = fit_starter(
            sources,
            # Default settings: the shipped prior must not depend on a configuration. What may be loud is
            # added when it is read (:mod:`personalization.heads.starter`).
            starter_prior(features, LearningSettings(loud_sd=0)),
            n_embedding=features.n_embedding,
            device=learning.device,
            progress=progress,
        )
    body = fitted.prior.to_bytes()
    arguments.out.write_bytes(body)
    _print(fitted)
    print(f"{arguments.out}: {counted(len(body), 'byte')}, SHA-256 {hashlib.sha256(body).hexdigest()}")


def _print(fitted: FittedStarter) -> None:
    """Print how the choices rank, as Markdown tables."""
    print(_heading(fitted.measured))
    print(_row("the recipe", fitted.measured))
    print("with one chatbot left out: " + ", ".join(f"{k} {v:.4f}" for k, v in fitted.by_chatbot.items()))
    print(
        f"the mean is scaled by {fitted.scale:.3f}; fitted weight of relevance {fitted.relevance_weight:.3f}"
    )
    print("heads on held-out chatbots and people, by share of the plain spread:")
    for spread, found in fitted.by_spread.items():
        print(f"  {spread:6g}  {found:.4f}" + ("  chosen" if spread == fitted.spread else ""))


def _compare(sources: list[Source], features: FeatureMap) -> None:
    """Print how recipes rank in which one choice differs."""
    fit = MeanFit(sources, features.n_embedding)
    recipes = [("the recipe", RECIPE), *RECIPE.neighbours()]
    print(_heading(fit.measure(RECIPE)))
    for name, recipe in recipes:
        print(_row(name, fit.measure(recipe)), flush=True)


def _heading(measured: Measured) -> str:
    names = list(measured.unseen)
    return (
        f"| people and exchanges left out, source left out | {' | '.join(names)} |\n"
        + "|---" * (len(names) + 1)
        + "|"
    )


def _row(name: str, measured: Measured) -> str:
    cells = [
        f"{mean:.3f} ± {se:.3f}, {measured.apart[source][0]:.3f}"
        for source, (mean, se) in measured.unseen.items()
    ]
    return f"| {name} | {' | '.join(cells)} |"
