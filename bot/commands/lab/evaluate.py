"""``simpatico evaluate``: run the protocol of docs/learning/measurements.md on a folder of judgements.

Connects the command line with :mod:`personalization.lab.evaluate`. Reads the folder, encodes its texts once
with a progress bar (or takes them from ``--cache``), runs the protocol, and writes a table, JSON and a
picture. Arguments that would only fail at the end, after minutes, are checked first. The table is formatted
in :mod:`bot.commands.lab.evaluate_output`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from tqdm import tqdm

from bot.commands.lab.evaluate_output import as_table
from bot.config import ConfigError, Settings
from personalization.arrays import BoolArray
from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.errors import HeadDamaged
from personalization.heads.heads import Prior, starter_prior
from personalization.heads.starter import FITTED_ON, shipped_prior
from personalization.lab.bandit_replay import POLICIES, replay
from personalization.lab.datasets import Dataset, dev_members, join, read_dataset
from personalization.lab.encoded_sets import EncodedSet, encode_set
from personalization.lab.evaluate import evaluate, row_names
from personalization.lab.first_replies import first_replies
from personalization.lab.options import NEW_SERVER_ROWS, ROWS
from personalization.settings import LearningSettings


def run(arguments: argparse.Namespace, settings: Settings, *, encoder: Encoder | None = None) -> None:
    """Measure, print the table, and write the requested files.

    Args:
        arguments: As declared by :func:`add_parser`.
        settings: All sections.
        encoder: Replaces the configured one.

    Raises:
        DatasetBroken: A folder is not in the format, or nothing can be measured on it.
        ConfigError: An argument cannot be used, or a package of the extra is missing.
    """
    ks, rows = _checked(arguments)
    learning = settings.personalization
    dataset, tested = _read(arguments)
    encoded = encode_set(dataset, learning, arguments.cache, encoder, watch=bar)
    features = encoded.features
    shipped = _shipped(features) if arguments.starter else None
    result = _measure(dataset, encoded, tested, learning, arguments, ks=ks, rows=rows, shipped=shipped)
    if shipped is None and not result["members"]:  # nothing else can be measured on this set
        try:
            shipped = _shipped(features)
        except ConfigError as exc:
            result["note"] += f"; {exc}"
    if shipped is not None:
        result["starter"] = first_replies(
            dataset,
            encoded.replies,
            encoded.relevance(),
            shipped,
            relevance_weight=learning.relevance_weight,
            personal_bound=learning.personal_bound,
        )
        if dataset.name in FITTED_ON:
            result["starter"]["note"] = "the prior that ships was fitted on this very set"
    print(as_table(result))
    if arguments.json_path is not None:
        text = json.dumps(result, indent=1, allow_nan=False)
        arguments.json_path.write_text(text + "\n", encoding="utf-8")
    if arguments.plot is not None:
        from bot.ui.charts import evaluation_picture  # loads matplotlib

        arguments.plot.write_bytes(evaluation_picture(result))


def bar(work: Sequence[int], what: str) -> Iterable[int]:
    """Yield the steps of a work, with a progress bar if there are any."""
    return tqdm(work, desc=what, unit="step", disable=not work)


@contextmanager
def steps(total: int, what: str) -> Iterator[Callable[[str], None]]:
    """Show a progress bar; yield a function to call after each step, with the name of the step."""
    with tqdm(total=total, desc=what, unit="step") as shown:

        def progress(step: str) -> None:
            shown.set_postfix_str(step)
            shown.update()

        yield progress


def _measure(
    dataset: Dataset,
    encoded: EncodedSet,
    tested: BoolArray,
    learning: LearningSettings,
    arguments: argparse.Namespace,
    *,
    ks: list[int],
    rows: list[str],
    shipped: Prior | None,
) -> dict[str, Any]:
    """Run the protocol, and the bandit replay if it was asked for."""
    plain, features = starter_prior(encoded.features, learning), encoded.replies
    seeds, bandit = arguments.seeds, arguments.bandit
    a_seed = 2 * len(row_names(rows)) + (1 + len(NEW_SERVER_ROWS)) * (shipped is not None)
    with steps(seeds * a_seed + bandit * (1 + seeds * len(POLICIES)), "measuring") as progress:
        how: dict[str, Any] = {
            "seeds": seeds,
            "device": learning.device,
            "n_embedding": encoded.features.n_embedding,
            "settings": learning.prior,
            "progress": progress,
        }
        result = evaluate(dataset, features, tested, plain, shipped=shipped, ks=ks, rows=rows, **how)
        if bandit:
            try:
                result["bandit"] = replay(dataset, features, tested, plain, **how)
            except ValueError as exc:
                raise ConfigError(f"--bandit does not work on {dataset.name}: {exc}") from exc
    return result


def _checked(arguments: argparse.Namespace) -> tuple[list[int], list[str]]:
    """Check all arguments before the work starts; return ``--k`` and ``--rows``."""
    rows = arguments.rows.split(",")
    if unknown := [row for row in rows if row not in ROWS]:
        raise ConfigError(f"--rows {','.join(unknown)}: expected some of {','.join(ROWS)}")
    if arguments.seeds < 1:
        raise ConfigError(f"--seeds {arguments.seeds}: expected 1 or more")
    if "independent" in rows and find_spec("sklearn") is None:
        raise ConfigError("the row independent needs scikit-learn: pip install 'simpatico[evaluate]'")
    for path in (arguments.json_path, arguments.plot):
        if path is not None and not path.parent.is_dir():
            raise ConfigError(f"{path}: expected a folder {path.parent}, found none; create it first")
    return _whole_numbers(arguments.k), rows


def _read(arguments: argparse.Namespace) -> tuple[Dataset, BoolArray]:
    """Read the sets; return them as one, with a mask of the users that are tested."""
    dataset = read_dataset(arguments.population)
    if arguments.members is not None:
        dataset, tested = join(dataset, read_dataset(arguments.members))
    else:
        tested = dev_members(dataset.users)
    if arguments.bandit and dataset.pairwise:
        raise ConfigError(f"--bandit needs single labels, but {dataset.name} has pairs")
    return dataset, tested


def _shipped(features: FeatureMap) -> Prior:
    try:
        return shipped_prior(features)
    except HeadDamaged as exc:
        raise ConfigError(f"the starter prior cannot be measured: {exc}") from exc


def _whole_numbers(text: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError as exc:
        raise ConfigError(f"--k {text}: expected whole numbers separated by commas, such as 0,5,20") from exc
    if numbers[0] < 0:
        raise ConfigError(f"--k {text}: expected numbers from 0 on")
    return numbers
