"""``simpatico tune``: search the settings of the population prior on a folder of judgements.

Connects the command line with :mod:`personalization.lab.prior_search`. Reads the folder, encodes its texts
once, shows a progress bar and a table, and writes the lines for ``config.toml`` if the found settings are
better than the configured ones. Optuna comes with the extra ``tune``.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

import numpy as np
from tqdm import tqdm

from bot.commands.lab import evaluate
from bot.config import ConfigError, Settings
from personalization.heads.heads import starter_prior
from personalization.lab.datasets import dev_members, is_support, read_dataset
from personalization.lab.encoded_sets import encode_set
from personalization.lab.prior_search import Choice, Search, Trial, Tuned, as_toml
from storage.wording import counted


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Search and print the result.

    Raises:
        DatasetBroken: The folder is not in the format.
        ConfigError: An argument cannot be used, or a package of the extra is missing.
        EncoderError: The encoder cannot be loaded.
    """
    for name in ("trials", "folds"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} {getattr(arguments, name)}: expected a number from 1 on")
    if find_spec("optuna") is None:
        raise ConfigError("tuning needs optuna: pip install 'simpatico[tune]'")
    dataset = read_dataset(arguments.population)
    labels = np.arange(len(dataset.y))
    if arguments.dev:
        labels = np.flatnonzero(
            ~dev_members(dataset.users)[dataset.user] & is_support(dataset, arguments.seed)
        )
    learning = settings.personalization
    encoded = encode_set(dataset, learning, None, watch=evaluate.bar)
    search = Search(
        dataset,
        labels,
        encoded.replies,
        starter_prior(encoded.features, learning),
        n_embedding=encoded.features.n_embedding,
        in_use=Choice(learning.prior, learning.bias_sd),
        folds=arguments.folds,
        seed=arguments.seed,
        device=learning.device,
    )
    with tqdm(total=arguments.trials, desc="searching", unit="trial") as bar:

        def progress(_: Trial) -> None:
            bar.update()

        result = search.run(arguments.trials, progress)
    print(as_text(result))
    if not result.is_better:
        print("The settings in use stay: no trial is better by two standard errors.")
        return
    print(as_toml(result.best.choice))
    if arguments.out is not None:
        arguments.out.write_text(as_toml(result.best.choice), encoding="utf-8")


def as_text(result: Tuned) -> str:
    """Format the trials as a Markdown table, the best first, followed by the verdict of the jury."""
    head = "| loss | rank | style_scale | whitening | start_variance | bias_sd |"
    whole = [trial for trial in result.trials if trial.loss is not None]
    lines = [head, "|---" * 6 + "|", *(map(_row, sorted(whole, key=lambda trial: trial.loss or 0.0)))]
    lines.append(
        f"{len(result.trials) - len(whole)} of {counted(len(result.trials), 'trial')} stopped early;"
    )
    lines.append(
        f"{counted(result.n_judges, 'member')} who took no part judged the best:"
        f" {result.gain:+.4f} ± {result.gain_se:.4f} against the settings in use"
    )
    return "\n".join(lines)


def _row(trial: Trial) -> str:
    prior = trial.choice.prior
    numbers = (prior.style_scale, prior.whitening, prior.start_variance, trial.choice.bias_sd)
    return f"| {trial.loss:.5f} | {prior.rank} | " + " | ".join(f"{number:.4g}" for number in numbers) + " |"
