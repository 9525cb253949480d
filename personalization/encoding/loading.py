"""Loads the configured encoder: the packaged one, a folder, an adapter or a Hugging Face id."""

from __future__ import annotations

from pathlib import Path

import torch

from personalization.devices import resolve_device
from personalization.encoding.encoder import TransformersEncoder, load_model
from personalization.settings import Device

MAX_THREADS = 8
"""More threads only get in each other's way on replies of some dozen tokens."""


def load_encoder(name: str, device: Device, *, batch_size: int | None = None) -> TransformersEncoder:
    """Load an encoder. Blocks for seconds; asks the network only for a Hugging Face id not yet cached.

    Args:
        name: ``"packaged"``, a folder (of a model, or of an adapter that ``simpatico adapt-encoder`` made),
            or a Hugging Face id.
        device: Where it runs.
        batch_size: Texts in one forward pass. None: 1 on the CPU, so that an embedding depends on its own
            text alone bit for bit, and 64 elsewhere.

    Raises:
        EncoderMissing: Nothing usable under that name.
        EncoderDamaged: The packaged weights do not have the pinned checksum, or the files of a folder cannot
            be read or do not belong together.
        AdapterTrouble: The folder holds an adapter, and peft is not installed.
        DeviceMissing: The named device is not in this machine.
    """
    place = resolve_device(device)
    torch.set_num_threads(min(torch.get_num_threads(), MAX_THREADS))
    if batch_size is None:
        batch_size = 1 if place.type == "cpu" else 64
    from personalization.encoding.adapter import is_adapter, load_adapted  # which adapts what is loaded here

    if is_adapter(Path(name)):
        return load_adapted(Path(name), place, batch_size)
    found = load_model(name)
    return TransformersEncoder(
        found.model, found.tokenizer, encoder_id=found.encoder_id, device=place, batch_size=batch_size
    )
