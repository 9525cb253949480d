"""``simpatico adapt-encoder``: adapt the shared encoder on a folder of judgements; keep it if it helps.

Glue between the command line and :mod:`personalization.lab.adapting.adaptation`: reads the folder, shows a
progress bar, writes curves for TensorBoard, and the adapter only when the members who judge gain by it.
What it writes is used by naming its folder in ``config.toml``. PEFT and TensorBoard come with the extra
``adapt``.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bot.config import ConfigError, Settings
from personalization.arrays import IntArray
from personalization.encoding.adapter import AdapterShape, is_adapter
from personalization.encoding.encoder import load_model
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import starter_prior
from personalization.lab.adapting.adaptation import Adaptation, Adapted, AdaptSettings, as_json
from personalization.lab.adapting.steps import StepSettings
from personalization.lab.datasets import Dataset, dev_members, is_support, read_dataset

CHECKPOINT = "checkpoint.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "population", type=Path, help="folder with dataset.json, items.jsonl.gz, labels.jsonl.gz"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the adapter, its checkpoint and its curves"
    )
    parser.add_argument(
        "--dev",
        type=int,
        metavar="SPLIT",
        help="leave out who is tested by evaluate --dev, and the groups they are asked about in this split",
    )
    add_settings(parser)


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Declare how to adapt."""
    shape, steps, own = AdapterShape(), StepSettings(), AdaptSettings()
    for flag, default, text in (
        ("--rank", shape.rank, "rank of the changes"),
        ("--dropout", shape.dropout, "share of a change's inputs dropped in training"),
        ("--learning-rate", steps.learning_rate, "highest step size"),
        ("--replies", steps.replies, "different replies in a step"),
        ("--accumulate", steps.accumulate, "parts that a step is cut into, to save memory"),
        ("--rounds", own.rounds, "most rounds"),
        ("--patience", own.patience, "rounds without a better one after which it ends"),
        ("--seed", own.seed, "of every chance in it"),
    ):
        parser.add_argument(flag, type=type(default), default=default, help=f"{text} (default {default})")
    parser.add_argument("--layers", type=int, default=shape.layers, help="how many of the last blocks change")
    parser.add_argument(
        "--all-linear", action="store_true", help="change every linear layer, not only queries and values"
    )


def settings_of(arguments: argparse.Namespace) -> AdaptSettings:
    """Read how to adapt.

    Raises:
        ConfigError: A number is out of range.
    """
    for name, lowest in (("rank", 1), ("replies", 1), ("accumulate", 1), ("rounds", 1), ("patience", 1)):
        if getattr(arguments, name) < lowest:
            raise ConfigError(f"--{name} {getattr(arguments, name)}: expected a number from {lowest} on")
    if not 0 <= arguments.dropout < 1:
        raise ConfigError(f"--dropout {arguments.dropout}: expected a share from 0 to below 1")
    if arguments.learning_rate <= 0:
        raise ConfigError(f"--learning-rate {arguments.learning_rate}: expected a number above 0")
    if arguments.layers is not None and arguments.layers < 1:
        raise ConfigError(f"--layers {arguments.layers}: expected a number from 1 on")
    return AdaptSettings(
        shape=AdapterShape(
            rank=arguments.rank,
            alpha=2.0 * arguments.rank,
            dropout=arguments.dropout,
            layers=arguments.layers,
            attention_only=not arguments.all_linear,
        ),
        steps=StepSettings(
            learning_rate=arguments.learning_rate,
            replies=arguments.replies,
            accumulate=arguments.accumulate,
        ),
        rounds=arguments.rounds,
        patience=arguments.patience,
        seed=arguments.seed,
    )


def run_adapting(arguments: argparse.Namespace, settings: Settings) -> None:
    """Adapt, and say how it went.

    Raises:
        DatasetBroken: The folder is not in the format.
        ConfigError: An argument cannot be used, or a package of the extra is missing.
        EncoderError: The encoder cannot be loaded or adapted, or the checkpoint is of another task.
    """
    how = settings_of(arguments)
    require_extra()
    learning, out = settings.personalization, arguments.out
    if is_adapter(out):
        raise ConfigError(f"--out {out}: there is an adapter already; name another folder")
    if is_adapter(Path(learning.encoder)):
        raise ConfigError("[personalization] encoder: expected a base to adapt, found an adapter")
    dataset = read_dataset(arguments.population)
    result = adapt(dataset, labels_of(dataset, arguments.dev), how, settings, out)
    print(as_text(result))
    if not result.is_better:
        print("Not adopted: nothing was written but the curves, and the encoder in use stays.")
        return
    result.encoder.save(out, {"trained_on": dataset.name, **as_json(result)})
    print(f'Adopted. To use it, set  encoder = "{out}"  under [personalization] and start again.')


def labels_of(dataset: Dataset, dev: int | None) -> IntArray:
    """Which labels may be used: all, or those that ``evaluate --dev`` neither tests nor asks in a split."""
    if dev is None:
        return np.arange(len(dataset.y))
    return np.flatnonzero(is_support(dataset, dev) & ~dev_members(dataset.users)[dataset.user])


def adapt(
    dataset: Dataset,
    labels: IntArray,
    how: AdaptSettings,
    settings: Settings,
    out: Path,
) -> Adapted:
    """Adapt the configured encoder on some labels of a set, with a progress bar and curves in ``out``.

    The checkpoint in ``out`` is gone on from, and removed at the end.
    """
    from tensorboard.summary import Writer  # an extra; what it needs is loaded only here

    learning = settings.personalization
    base = load_model(learning.encoder)
    starter = starter_prior(FeatureMap(load_encoder(learning.encoder, learning.device)), learning)
    writer = Writer(str(out / "curves"))
    with tqdm(desc="adapting", unit="step") as bar:

        def note(name: str, value: float, step: int) -> None:
            writer.add_scalar(name, value, step)
            if name == "steps/learning rate":
                bar.update()

        try:
            task = Adaptation(
                dataset,
                labels,
                base,
                starter,
                how,
                device=learning.device,
                checkpoint=out / CHECKPOINT,
                note=note,
            )
            bar.total = task.n_steps
            result = task.run(bar.set_postfix_str)
        finally:
            writer.close()
    (out / CHECKPOINT).unlink(missing_ok=True)
    return result


def as_text(result: Adapted) -> str:
    """Say how it went, round by round."""
    lines = ["| round | kept out: loss | kept out: ranked rightly | training loss |", "|---|---|---|---|"]
    for n, entry in enumerate(result.history):
        best = " (best)" if n == result.best_round else ""
        lines.append(f"| {n}{best} | {entry.loss:.4f} | {entry.metric:.4f} | {entry.training_loss:.4f} |")
    lines.append(
        f"{result.n_judges} members who took no part judge: {result.gain:+.4f} ± {result.gain_se:.4f} against"
        " the frozen encoder"
    )
    return "\n".join(lines)


def require_extra() -> None:
    """Refuse to begin without the packages it needs.

    Raises:
        ConfigError: One is missing.
    """
    missing = [name for name in ("peft", "tensorboard") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"adapting needs {' and '.join(missing)}: pip install 'simpatico[adapt]'")
