"""Which device computes: the word in the configuration -> a torch device.

The encoder and the solve share this answer. Imports torch, nothing else of the project but its settings.
"""

from __future__ import annotations

import os

import torch

from personalization.errors import DeviceMissing
from personalization.settings import Device


def resolve_device(device: Device) -> torch.device:
    """Find the device: ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        DeviceMissing: The named device is not in this machine, or torch was installed without support for it.
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
    """A device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "the CPU" if device.type == "cpu" else device.type.upper()


def half_of_cores() -> int:
    """Threads for a model that computes beside the event loop: half the cores this process may use.

    Event loop, encoder and training want cores too, and the threads of a model wait for each other in busy
    loops: on two contended cores, two threads took ten times as long as one.
    """
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, able // 2)
