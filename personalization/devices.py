"""Choice of the torch device and the number of threads, shared by the encoder, the solve and the generators.

Imports torch, and of the project only errors and settings.
"""

from __future__ import annotations

import os

import torch

from personalization.errors import DeviceMissing
from personalization.settings import Device


def resolve_device(device: Device) -> torch.device:
    """Return the torch device of a setting; ``auto`` is CUDA if available, else MPS, else the CPU.

    Raises:
        DeviceMissing: This machine does not have the named device, or torch was installed without support for
            it.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there[device]:
        found = ", ".join(name for name, is_there in there.items() if is_there)
        raise DeviceMissing(
            f"expected the device {device!r}, found only: {found}; "
            'set device = "auto" in config.toml, or install torch with support for it'
        )
    return torch.device(device)


def describe(device: torch.device) -> str:
    """Return a device's name for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "the CPU" if device.type == "cpu" else device.type.upper()


def half_of_cores() -> int:
    """Return the number of threads for a model that runs next to the event loop: half the process's cores.

    Event loop, encoder and training need cores too. The threads of a model wait for each other in busy loops:
    on two contended cores, two threads took ten times as long as one.

    Returns:
        At least 1.
    """
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, able // 2)
