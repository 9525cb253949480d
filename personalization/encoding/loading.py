"""Loading of the configured encoder: packaged, a folder, an adapter, compressed, or a Hugging Face id.

Called once at start by the bot and by the commands that encode. Imports torch.
"""

from __future__ import annotations

from pathlib import Path

import torch

from personalization.devices import resolve_device
from personalization.encoding.adapter import is_adapter, load_adapted
from personalization.encoding.compressed import is_compressed, load_compressed
from personalization.encoding.encoder import Encoder, TransformersEncoder, load_model, load_packaged
from personalization.encoding.plugged import plugged_encoder
from personalization.errors import DeviceMissing
from personalization.loading_watch import watching
from personalization.plugins import plugin_in
from personalization.settings import Device

MAX_THREADS = 8
"""Most torch threads; on replies of some dozen tokens, more threads only wait for each other."""


@watching("the encoder")
def load_encoder(name: str, device: Device, *, batch_size: int | None = None) -> Encoder:
    """Load an encoder. Blocks for seconds; uses the network only for a Hugging Face id that is not cached.

    Args:
        name: ``"packaged"``, a folder (of a model, of an adapter from ``simpatico adapt-encoder``, or of a
            compressed encoder from ``simpatico compress-encoder``), ``plugin:NAME``, or a Hugging Face id.
        device: Where the encoder runs.
        batch_size: Texts in one forward pass. None: 1 on the CPU, so that an embedding depends on its own
            text alone bit for bit, and 64 elsewhere.

    Raises:
        PluginBroken: There is no such plug-in, or it does not return embeddings.
        EncoderMissing: There is no usable encoder of that name.
        EncoderDamaged: The packaged weights do not have the pinned checksum, or the files of a folder cannot
            be read or do not match each other.
        AdapterTrouble: The folder holds an adapter, and peft is not installed.
        DeviceMissing: This machine does not have the named device, or the encoder does not run on it.
        EncoderError: This build of torch cannot compute a compressed encoder.
    """
    if (plugin := plugin_in(name)) is not None:
        return plugged_encoder(plugin, device)
    place = resolve_device(device)
    torch.set_num_threads(min(torch.get_num_threads(), MAX_THREADS))
    if batch_size is None:
        batch_size = 1 if place.type == "cpu" else 64
    if is_adapter(Path(name)):
        return load_adapted(Path(name), place, batch_size)
    if is_compressed(Path(name)):
        if device not in ("auto", "cpu"):
            raise DeviceMissing(
                f'expected device "auto" or "cpu" for the compressed encoder {name}, which runs on the CPU'
                f' only, found "{device}"; change [personalization] device, or set encoder to its base'
            )
        found, place, batch_size = load_compressed(Path(name)), torch.device("cpu"), 1
    else:
        found = load_packaged() if name == "packaged" else load_model(name)
    return TransformersEncoder(
        found.model, found.tokenizer, encoder_id=found.encoder_id, device=place, batch_size=batch_size
    )
