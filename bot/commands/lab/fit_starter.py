"""``simpatico fit-starter``: fit a starter prior for the configured encoder on public judgements.

Without ``--out`` the starter is kept where the bot looks for it at its next start; the bot does the same in
the background (:mod:`bot.background.starter_fitting`). With ``--out`` it makes the file that ships. The same
sets give the same bytes on the same machine.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from bot.commands.lab.evaluate import bar, steps
from bot.config import ConfigError, Settings
from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.kept_starter import KeptStarter
from personalization.lab.datasets import Dataset, read_dataset
from personalization.lab.encoded_sets import EncodedSet, encode_set
from personalization.lab.fit_starter import FittedStarter
from personalization.lab.own_starter.fitting import fit_encoded, n_steps, sources_of
from personalization.lab.own_starter.shipped_sets import shipped_folders
from personalization.lab.starter_mean import RECIPE, MeanFit, Measured
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
        StarterFailed: The folder of kept starters cannot be written.
    """
    out: Path | None = arguments.out
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"--out {out}: expected a folder {out.parent}, found none")
    folders = [*(arguments.folders or shipped_folders()), *arguments.also]
    sets = [read_dataset(folder) for folder in folders]
    if len({dataset.name for dataset in sets}) < len(sets):
        raise ConfigError("expected different sets, found one twice")
    learning = settings.personalization
    encoder = encoder or load_encoder(learning.encoder, learning.device)
    if out is not None:
        body = _fitted(sets, encoder, arguments, settings)
        out.write_bytes(body)
    else:
        kept = KeptStarter(settings.generator.starter_dir, FeatureMap(encoder))
        with kept.locked() as tell:
            tell("the start of simpatico fit-starter")
            body = _fitted(sets, encoder, arguments, settings)
            out = kept.keep(body)
    print(f"{out}: {counted(len(body), 'byte')}, SHA-256 {hashlib.sha256(body).hexdigest()}")


def _fitted(
    sets: list[Dataset], encoder: Encoder, arguments: argparse.Namespace, settings: Settings
) -> bytes:
    """Encode the sets, fit the prior, print how its choices rank, and return its bytes."""
    learning = settings.personalization
    encoded = [encode_set(dataset, learning, arguments.cache, encoder, watch=bar) for dataset in sets]
    if arguments.compare:
        _compare(encoded)
    with steps(n_steps(encoded), "fitting") as progress:
        fitted = fit_encoded(encoded, learning.device, progress)
    _print(fitted)
    return fitted.prior.to_bytes()


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


def _compare(encoded: list[EncodedSet]) -> None:
    """Print how recipes rank in which one choice differs."""
    fit = MeanFit(sources_of(encoded), encoded[0].features.n_embedding)
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
