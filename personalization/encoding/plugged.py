"""An encoder from a plug-in, with checks of what it returns."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from personalization.arrays import FloatArray
from personalization.errors import PluginBroken
from personalization.plugins import PREFIX, Group, made_by

MOST_DIMENSIONS = 16_384
LONGEST_ID = 200
"""Longest id of a plug-in's weights, characters."""
_TOLERANCE = 1e-3
"""How far the length of an embedding may be from 1: half precision."""
_PROBE = ("Good morning!", "The train leaves at nine.")


class EncoderPlugin(Protocol):
    """What the factory of a plug-in of the group ``simpatico.encoders`` returns.

    It is called with the device. ``encode`` blocks, and is called in a thread, by one thread at a time.
    """

    @property
    def encoder_id(self) -> str:
        """Id of the exact weights and the pooling; another id makes the bot embed everything anew."""
        ...

    @property
    def dim(self) -> int:
        """Length of one embedding (d)."""
        ...

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts, in order: ``n x d`` float32, each row of length 1, the same for the same text."""
        ...


class PluggedEncoder:
    """A plug-in as the shared encoder.

    Attributes:
        encoder_id: Name of the plug-in and its own id.
        dim: Length of one embedding (d).
        frozen: The encoder itself; a plug-in is not adapted.
    """

    def __init__(self, name: str, plugin: EncoderPlugin) -> None:
        self._name, self._plugin, self._lock = name, plugin, threading.Lock()
        self.encoder_id, self.dim = f"{PREFIX}{name}/{plugin.encoder_id}", plugin.dim
        self.frozen = self

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts, in order. Blocks; call from a thread.

        Returns:
            ``n x d`` float32, each row of length 1.

        Raises:
            RuntimeError: The plug-in failed, or returned something else than embeddings.
        """
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        try:
            with self._lock:
                found = np.asarray(self._plugin.encode(list(texts)), dtype=np.float32)
        except Exception as exc:  # boundary: the code of a plug-in can raise anything
            raise RuntimeError(
                f"the encoder of the plug-in {self._name} failed: {type(exc).__name__}"
            ) from exc
        if found.shape != (len(texts), self.dim):
            raise RuntimeError(
                f"the encoder of the plug-in {self._name}: expected an array of {len(texts)} x {self.dim},"
                f" found {' x '.join(map(str, found.shape))}"
            )
        lengths = np.linalg.norm(found, axis=1, keepdims=True)  # (n, 1)
        if not (np.abs(lengths - 1.0) < _TOLERANCE).all():  # also false for what is not a number
            raise RuntimeError(
                f"the encoder of the plug-in {self._name}: expected rows of length 1, found others"
            )
        return found / lengths


def plugged_encoder(name: str, device: str) -> PluggedEncoder:
    """Make the encoder of a plug-in, and try it. Blocks.

    Args:
        name: Name of the plug-in.
        device: Where it should run, as ``[personalization] device`` says.

    Raises:
        PluginBroken: There is no such plug-in, or it does not return embeddings.
    """
    needs = {
        "encoder_id": "the id of its weights",
        "dim": "the length of an embedding",
        "encode": "which encodes texts",
    }
    plugin: EncoderPlugin = made_by(Group.ENCODERS, name, device, needs=needs)
    own_id, dim = plugin.encoder_id, plugin.dim
    if not own_id or not own_id.isprintable() or len(own_id) > LONGEST_ID:
        raise PluginBroken(
            f"the plug-in {name}: expected an encoder_id of 1 to {LONGEST_ID} printable characters,"
            f" found {own_id!r}"
        )
    if not 1 <= dim <= MOST_DIMENSIONS:
        raise PluginBroken(f"the plug-in {name}: expected a dim of 1 to {MOST_DIMENSIONS}, found {dim}")
    encoder = PluggedEncoder(name, plugin)
    try:
        both, (alone,) = encoder.encode(_PROBE), encoder.encode(_PROBE[:1])
    except RuntimeError as exc:
        raise PluginBroken(str(exc)) from exc
    if not np.allclose(both[0], alone, atol=_TOLERANCE):
        raise PluginBroken(
            f"the plug-in {name}: expected the same embedding for a text alone and among others, found two"
        )
    return encoder
