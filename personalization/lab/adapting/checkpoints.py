"""The checkpoint of an adapting: one safetensors file, replaced as a whole, from which it goes on exactly.

Holds numbers and no code (no pickle), and names the very task it belongs to, so that nobody goes on with
another set or other settings by mistake. Used by :mod:`personalization.lab.adapting.adaptation`.
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
    """How far an adapting has come.

    Attributes:
        history: For every round measured: loss and share ranked rightly by those who were kept out, and the
            training loss of a label before it.
        training_loss: Of the round taught last; NaN before the first.
        weights: Of the adapter now, by name.
        best: Of the adapter in the best round so far.
        optimiser: What the next step depends on.
    """

    history: list[tuple[float, float, float]] = field(default_factory=list[tuple[float, float, float]])
    training_loss: float = float("nan")
    weights: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    optimiser: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


_PARTS = ("weights", "best", "optimiser")


def write_progress(path: Path, progress: Progress, task: str) -> None:
    """Replace the checkpoint; a crash leaves the old one or the new one.

    Args:
        path: The file; its folder is made.
        progress: What to keep.
        task: Name of what it belongs to.

    Raises:
        OSError: It cannot be written.
    """
    tensors = {
        f"{part}:{name}": tensor.detach().cpu().contiguous()
        for part in _PARTS
        for name, tensor in _part(progress, part).items()
    }
    told = json.dumps(
        {"task": task, "history": progress.history, "training_loss": progress.training_loss}, sort_keys=True
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    save_file(tensors, new, metadata={"simpatico": told})
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.replace(path)


def read_progress(path: Path, task: str) -> Progress | None:
    """Read the checkpoint; None when there is none.

    Raises:
        AdapterTrouble: It is damaged, or of another task.
    """
    if not path.exists():
        return None
    advice = f"delete {path} to begin again"
    try:
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()["simpatico"])
            tensors: Mapping[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}
        found, history = str(told["task"]), [tuple(entry) for entry in told["history"]]
        progress = Progress(history, float(told["training_loss"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as exc:
        raise AdapterTrouble(
            f"expected a checkpoint in {path}, found {type(exc).__name__}: {exc}; {advice}"
        ) from exc
    if found != task:
        raise AdapterTrouble(
            f"expected a checkpoint of this very set, encoder and settings in {path}, found one of others;"
            f" {advice}"
        )
    for name, tensor in tensors.items():
        part, _, inner = name.partition(":")
        _part(progress, part)[inner] = tensor
    return progress


def _part(progress: Progress, part: str) -> dict[str, Tensor]:
    return {"weights": progress.weights, "best": progress.best, "optimiser": progress.optimiser}[part]
