"""Checkpoint of an adaptation: one safetensors file, replaced atomically, from which a run resumes exactly.

The file holds numbers and no code (no pickle). It names its task, so that a run cannot resume with another
set or other settings by mistake. Used by :mod:`personalization.lab.adapting.adaptation`.
"""

# torch ships without types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from personalization.errors import AdapterTrouble


@dataclass(slots=True)
class Progress:
    """State of an adaptation after a round.

    Attributes:
        history: Per round, held-out loss, share of pairs ranked correctly, and the training loss before it.
        training_loss: Mean training loss of the last round; NaN before the first.
        weights: Current weights of the adapter, by name.
        best: Weights of the adapter in the best round so far.
        optimiser: State of the optimiser.
    """

    history: list[tuple[float, float, float]] = field(default_factory=list[tuple[float, float, float]])
    training_loss: float = float("nan")
    weights: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    optimiser: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


_PARTS = ("weights", "best", "optimiser")


def write_progress(path: Path, progress: Progress, task: str) -> None:
    """Replace the checkpoint atomically: a crash leaves either the old file or the new one.

    Args:
        path: The file; its folder is created.
        progress: The state to write.
        task: Id of the set, encoder and settings.

    Raises:
        OSError: The file cannot be written.
    """
    tensors = {
        f"{part}:{name}": tensor.detach().cpu().contiguous()
        for part in _PARTS
        for name, tensor in _part(progress, part).items()
    }
    header = json.dumps(
        {"task": task, "history": progress.history, "training_loss": progress.training_loss}, sort_keys=True
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    save_file(tensors, new, metadata={"simpatico": header})
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(path)


def read_progress(path: Path, task: str) -> Progress | None:
    """Read the checkpoint; None if there is no file.

    Raises:
        AdapterTrouble: The file is damaged, or belongs to another task.
    """
    if not path.exists():
        return None
    advice = f"delete {path} to begin again"
    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["simpatico"])
            tensors: Mapping[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}
        found, history = str(header["task"]), [tuple(entry) for entry in header["history"]]
        progress = Progress(history, float(header["training_loss"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as exc:
        raise AdapterTrouble(
            f"expected a checkpoint in {path}, found {type(exc).__name__}: {exc}; {advice}"
        ) from exc
    if found != task:
        raise AdapterTrouble(
            f"expected a checkpoint of this set, encoder and settings in {path}, found one of another task;"
            f" {advice}"
        )
    for name, tensor in tensors.items():
        part, _, inner = name.partition(":")
        _part(progress, part)[inner] = tensor
    return progress


def _part(progress: Progress, part: str) -> dict[str, Tensor]:
    return {"weights": progress.weights, "best": progress.best, "optimiser": progress.optimiser}[part]
