"""Device, number format, CPU threads, memory and speed of a language model in this process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from bot.generation import GeneratorUnavailable
from personalization.devices import half_of_cores, resolve_device
from personalization.errors import DeviceMissing
from personalization.settings import Device

_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_SIDE, _TRIES = 4096, 20


def device_for(wanted: Device) -> torch.device:
    """Return the device to run on.

    Raises:
        GeneratorUnavailable: The wanted device is not in this machine.
    """
    try:
        return resolve_device(wanted)
    except DeviceMissing as exc:
        raise GeneratorUnavailable(f"[generator] device: {exc}") from exc


def dtype_for(device: torch.device) -> torch.dtype:
    """Return the fastest number format that does not degrade replies.

    On CPUs with bfloat16 instructions, generation in bfloat16 was 1.5 to 1.7 times as fast as in float32.
    Without those instructions bfloat16 is emulated and slower.
    """
    match device.type:
        case "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        case "mps":
            return torch.float16
        case _:
            able = torch.cpu.get_capabilities()
            return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def leave_cores_free() -> None:
    """Limit PyTorch to half of the CPU cores. Applies to the whole process."""
    torch.set_num_threads(min(torch.get_num_threads(), half_of_cores()))


def device_in_words(device: torch.device) -> str:
    """Return the name of a device for people."""
    match device.type:
        case "cuda":
            return torch.cuda.get_device_name(device)
        case "mps":
            return "Apple GPU"
        case _:
            return "CPU"


def memory_gb(device: torch.device) -> float:
    """Return the memory of a device, GB: of the GPU, or of this machine or container."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / 1e9
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in map(Path, _CONTAINER_LIMITS):
        if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
            found.append(int(text))
    return min(found) / 1e9


def weights_per_s() -> float:
    """Measure how many weights the CPU multiplies in a second, with the threads of a local model.

    Blocks for less than a second, and needs 64 MB. The best of some tries counts, because other work on the
    machine only slows one down. A token needs a pass over all weights, so this
    number divided by the parameters estimates the tokens in a second. With the packaged model the estimate
    was 24 to 30 tokens, and llama.cpp wrote 24 to 28 (one candidate, one thread, same machine and load).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(half_of_cores())
    try:
        weights, vector = torch.ones(_SIDE, _SIDE), torch.ones(_SIDE)
        times: list[float] = []
        for _ in range(_TRIES):
            began = time.perf_counter()
            torch.mv(weights, vector)
            times.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return weights.numel() / min(times)
