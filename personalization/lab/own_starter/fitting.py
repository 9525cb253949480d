"""Fits the starter prior of one encoder and keeps it, here or in a process of its own.

:func:`fit_in_process` is what the bot starts at its first start with an encoder that has no starter
(``bot.background.starter_fitting``). It needs minutes to hours of computing, so it runs with low priority and
is killed when the bot stops. Encodings are cached beside the starter, so the next try goes on from there.
Nothing of members is read.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.errors import PersonalizationError, StarterFailed
from personalization.heads.heads import starter_prior
from personalization.heads.kept_starter import KeptStarter
from personalization.lab.datasets import read_dataset
from personalization.lab.encoded_sets import EncodedSet, encode_set
from personalization.lab.fit_starter import FittedStarter, fit_starter
from personalization.lab.own_starter.shipped_sets import shipped_folders
from personalization.lab.preference_moments import Source
from personalization.rounds.worker import become_worker
from personalization.settings import Device, LearningSettings

ENCODING_SHARE = 0.7
"""Share of the encoding in the progress that is told; the rest is the fit."""
LONGEST_REASON = 500
"""Characters of the reason of a failure. A pipe takes so many at once, also while no process reads it."""
TOLD_STEPS = 200
"""Most times that progress is told in one phase."""


def fit_encoded(
    encoded: Sequence[EncodedSet], device: Device, progress: Callable[[str], None] = lambda _: None
) -> FittedStarter:
    """Fit the starter to encoded sets. Blocks for minutes; the same sets give the same bytes.

    The settings of the host have no part in it. What may be loud is added when the starter is read
    (:mod:`personalization.heads.starter`).

    Args:
        encoded: The sets; the first one has judgements of several chatbots.
        device: Device on which to solve.
        progress: Called after each step.

    Raises:
        DatasetBroken: The first set has pairs or too few chatbots.
        DeviceMissing: This machine lacks the device.
    """
    features = encoded[0].features
    return fit_starter(
        sources_of(encoded),
        starter_prior(features, LearningSettings(loud_sd=0)),
        n_embedding=features.n_embedding,
        device=device,
        progress=progress,
    )


def sources_of(encoded: Sequence[EncodedSet]) -> list[Source]:
    """Return the sets as sources of the fit; computes relevance."""
    return [Source.of(one.dataset, one.replies, one.relevance()) for one in encoded]


def n_steps(encoded: Sequence[EncodedSet]) -> int:
    """Return how many steps the fit to these sets takes."""
    n_chatbots = len({group.split("/")[0] for group in encoded[0].dataset.groups})
    return len(encoded) + n_chatbots + 2


def fit_and_keep(
    encoder: Encoder, device: Device, folder: Path, folders: Sequence[Path] | None = None
) -> Path | None:
    """Fit the starter for an encoder unless one is kept; wait while another process fits it.

    Args:
        encoder: The encoder.
        device: Device on which to solve.
        folder: Folder of kept starters.
        folders: The sets; None: those that ship.

    Returns:
        The new file; None if a sound one was there.

    Raises:
        StarterFailed: The folder cannot be written, or a kept file cannot be read now.
        DatasetBroken: A set is missing or damaged.
        DeviceMissing: This machine lacks the device.
    """
    features = FeatureMap(encoder)
    kept = KeptStarter(folder, features)
    cache = folder / "encodings"
    with kept.locked() as tell:
        if kept.read() is not None:
            return None
        tell(_percent(0))
        sets = [read_dataset(one) for one in folders or shipped_folders()]
        n_texts = sum(len(one.texts) + sum(map(bool, one.messages)) for one in sets)
        watch = _Progress(n_texts, tell).watch
        learning = LearningSettings(device=device)
        try:
            encoded = [encode_set(one, learning, cache, encoder, watch=watch) for one in sets]
        except OSError as exc:
            raise StarterFailed(f"expected to write into {cache}, found {exc}") from exc
        done = iter(range(1, n_steps(encoded) + 1))

        def fitted_step(_: str) -> None:
            tell(_percent(ENCODING_SHARE + (1 - ENCODING_SHARE) * next(done) / n_steps(encoded)))

        path = kept.keep(fit_encoded(encoded, device, fitted_step).prior.to_bytes())
        shutil.rmtree(cache, ignore_errors=True)
    return path


def fit_in_process(
    name: str,
    device: Device,
    folder: Path,
    folders: Sequence[Path] | None = None,
    why: Connection | None = None,
) -> None:
    """Fit and keep the starter for a named encoder, with low priority; ends the process with 1 on a failure.

    Args:
        name: As ``[personalization] encoder``.
        device: Device of encoder and solving.
        folder: Folder of kept starters.
        folders: The sets; None: those that ship.
        why: Where the reason of a failure is sent; None: it is written to standard error.
    """
    tell = why.send if why is not None else sys.stderr.write
    become_worker()
    try:
        fit_and_keep(load_encoder(name, device), device, folder, folders)
    except PersonalizationError as exc:
        tell(f"{exc}"[:LONGEST_REASON])
        sys.exit(1)
    except Exception as exc:  # a bug, or no memory: its traceback goes to standard error
        tell(type(exc).__name__)
        raise


class _Progress:
    """Tells the progress of encoding over all sets, as the share of texts that are done."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._total, self._tell = total, tell
        self._done = 0

    def watch(self, steps: Sequence[int], what: str) -> Iterable[int]:
        del what
        size = steps.step if isinstance(steps, range) else 1
        every = max(1, self._total // size // TOLD_STEPS)
        for i, step in enumerate(steps):
            if i % every == 0:
                self._tell(_percent(ENCODING_SHARE * min(1.0, (self._done + i * size) / self._total)))
            yield step
        self._done += len(steps) * size


def _percent(share: float) -> str:
    return f"{share:.0%}"
