"""``simpatico adapt-encoder``: fine-tune the shared encoder on a folder of judgements, if that helps.

Connects the command line with :mod:`personalization.lab.adapting.adaptation`. Reads the folder, shows a
progress bar, and writes curves for TensorBoard. Writes the adapter only when it improves the ranking for the
held-out members of the jury. With ``--augment`` or ``--adversarial``, the plain training follows on the same
split, and the difference is printed. The adapter is used by naming its folder in ``config.toml``. PEFT and
TensorBoard come with the extra ``adapt``.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bot.config import ConfigError, Settings
from personalization.arrays import IntArray
from personalization.encoding.adapter import is_adapter
from personalization.encoding.adapter_shape import AdapterShape
from personalization.encoding.encoder import load_model
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import starter_prior
from personalization.lab.adapting.adaptation import Adaptation, Adapted, as_json
from personalization.lab.datasets import Dataset, dev_members, is_support, read_dataset
from personalization.lab.options import ADVERSARIAL, AdaptSettings, StepSettings
from storage.wording import counted

CHECKPOINT = "checkpoint.safetensors"


def settings_of(arguments: argparse.Namespace) -> AdaptSettings:
    """Return the options of the training.

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
            augment=arguments.augment,
            adversarial=ADVERSARIAL if arguments.adversarial else 0.0,
        ),
        rounds=arguments.rounds,
        patience=arguments.patience,
        seed=arguments.seed,
    )


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Adapt the encoder and print the result.

    Raises:
        DatasetBroken: The folder is not in the format.
        ConfigError: An argument cannot be used, or a package of the extra is missing.
        EncoderError: The encoder cannot be loaded or adapted, or the checkpoint belongs to another task.
    """
    how = settings_of(arguments)
    require_extra()
    learning, out = settings.personalization, arguments.out
    if is_adapter(out):
        raise ConfigError(f"--out {out}: there is an adapter already; choose another folder")
    if is_adapter(Path(learning.encoder)):
        raise ConfigError("[personalization] encoder: expected a base to adapt, found an adapter")
    dataset = read_dataset(arguments.population)
    labels = labels_of(dataset, arguments.dev)
    result = adapt(dataset, labels, how, settings, out)
    print(as_text(result))
    if is_regularised(how):
        result = _beside_plain(result, adapt(dataset, labels, plain(how), settings, out / "plain"))
    for folder in (out, out / "plain"):
        (folder / CHECKPOINT).unlink(missing_ok=True)
    if not result.is_better:
        print("Not adopted: only the curves were written; the configured encoder stays in use.")
        return
    result.encoder.save(out, {"trained_on": dataset.name, **as_json(result)})
    print(f'Adopted. To use it, set  encoder = "{out}"  under [personalization] and restart.')


def is_regularised(how: AdaptSettings) -> bool:
    """Return whether the training augments texts or changes word embeddings."""
    return how.steps.augment or how.steps.adversarial > 0


def plain(how: AdaptSettings) -> AdaptSettings:
    """Return the same settings without augmentation and adversarial training."""
    return replace(how, steps=replace(how.steps, augment=False, adversarial=0.0))


def _beside_plain(result: Adapted, plainly: Adapted) -> Adapted:
    """Print the plain run and the difference; return the run that the jury for early stopping prefers.

    The test jury must not choose: then its own verdict would flatter the choice.
    """
    gain, gain_se = result.gain_over(plainly)
    print(f"\nThe same without --augment and --adversarial:\n{as_text(plainly)}")
    print(f"Difference, by the same {counted(result.n_judges, 'member')}: {gain:+.4f} ± {gain_se:.4f}")
    by_loss = sorted((result, plainly), key=lambda one: one.history[one.best_round].loss)
    print("Used below: " + ("the run above" if by_loss[0] is plainly else "the first run"))
    return by_loss[0]


def labels_of(dataset: Dataset, dev: int | None) -> IntArray:
    """Return the indices of the labels to train on.

    Args:
        dataset: The set.
        dev: None: all labels. Otherwise a split of ``evaluate --dev``: its test members and query groups are
            left out.
    """
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

    Resumes from the checkpoint in ``out`` if there is one, and leaves it there.
    """
    from tensorboard.summary import Writer  # an extra, loaded only where it is used

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
            return task.run(bar.set_postfix_str)
        finally:
            writer.close()


def as_text(result: Adapted) -> str:
    """Format the rounds as a Markdown table, followed by the verdict of the jury."""
    lines = ["| round | held-out loss | held-out ranked correctly | training loss |", "|---|---|---|---|"]
    for n, entry in enumerate(result.history):
        best = " (best)" if n == result.best_round else ""
        lines.append(f"| {n}{best} | {entry.loss:.4f} | {entry.metric:.4f} | {entry.training_loss:.4f} |")
    lines.append(
        f"{counted(result.n_judges, 'member')} who took no part judged: {result.gain:+.4f} ±"
        f" {result.gain_se:.4f} against the frozen encoder"
    )
    return "\n".join(lines)


def require_extra() -> None:
    """Check that the packages of the extra are installed.

    Raises:
        ConfigError: One is missing.
    """
    missing = [name for name in ("peft", "tensorboard") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"adapting needs {' and '.join(missing)}: pip install 'simpatico[adapt]'")
