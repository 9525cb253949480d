"""A BERT encoder with weights of eight bits: a quarter of the memory, and faster on most CPUs.

Each row of a weight matrix is stored as int8 with a scale of its own. The inputs of a linear layer are
rounded to int8 as well, with a scale per token, and multiplied as integers; everything else stays float32.
``simpatico compress-encoder`` writes such a folder. Its encoder id differs from that of its base, because its
embeddings do. It runs on the CPU only.

Torch's own quantisation (``torch.ao``) is deprecated, and its successor is a package of its own, so one
integer product of torch is used directly. :func:`check_kernel` refuses a build of torch that lacks it or
computes it inexactly. Used by :mod:`personalization.encoding.loading`.

Source: Dettmers et al. (2022), LLM.int8(): 8-bit matrix multiplication for transformers at scale, for one
scale per row and token; encoders of this size have no outlier features, so no part stays in 16 bits.
"""

# torch ships without types for these.
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from personalization.encoding.encoder import LoadedModel, TransformersEncoder, sha256_of
from personalization.encoding.minilm import MiniLM, Shape, WordPieces
from personalization.errors import EncoderDamaged, EncoderError
from personalization.loading_errors import loading
from personalization.model_folder import FileBroken

CONFIG, WEIGHTS, TOKENIZER, NOTE = "config.json", "int8.safetensors", "tokenizer.json", "simpatico.json"
"""Files of a compressed encoder; the note records the base encoder."""
LEAST_COSINE = 0.95
"""Least cosine between the embeddings of base and compressed encoder."""
_SCALE = ".scale"
_PROBES = ("hello", "What would you like to eat tonight? I would love some hot soup.", "No. 😂")


class CompressedMiniLM(MiniLM):
    """A BERT encoder with int8 weights; each has its scales under its name followed by ``.scale``."""

    def _words(self, input_ids: Tensor) -> Tensor:
        name = "embeddings.word_embeddings.weight"
        return self._weights[name][input_ids] * self._weights[name + _SCALE][input_ids].unsqueeze(-1)

    def _linear(self, name: str, states: Tensor) -> Tensor:
        rows = states.reshape(-1, states.shape[-1])  # (n tokens, d)
        scales = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        small = torch.round(rows / scales).to(torch.int8)
        product = torch._int_mm(small, self._weights[f"{name}.weight"].t())  # (n tokens, out) int32
        found = product * scales * self._weights[f"{name}.weight{_SCALE}"] + self._weights[f"{name}.bias"]
        return found.reshape(*states.shape[:-1], -1)


def check_kernel() -> None:
    """Check that this build of torch multiplies int8 matrices, exactly, on this CPU.

    Raises:
        EncoderError: It does not.
    """
    rng = np.random.default_rng(0)
    left, right = (rng.choice(np.array([-127, -1, 90, 127], np.int8), (n, 64)) for n in (17, 24))
    try:
        found = torch._int_mm(torch.from_numpy(left), torch.from_numpy(right).t()).numpy()
    except (AttributeError, NotImplementedError, RuntimeError) as exc:
        raise EncoderError(
            "expected a build of torch that multiplies int8 matrices, which a compressed encoder needs, found"
            f" {torch.__version__} without it; set [personalization] encoder to the base encoder"
        ) from exc
    if not np.array_equal(found, left.astype(np.int32) @ right.astype(np.int32).T):
        raise EncoderError(
            "expected exact products of int8 matrices, which a compressed encoder needs, found rounded ones"
            f" (torch {torch.__version__}); set [personalization] encoder to the base encoder"
        )


def is_compressed(folder: Path) -> bool:
    """Return whether a folder holds a compressed encoder."""
    return (folder / WEIGHTS).is_file()


def compress(base: LoadedModel, folder: Path) -> None:
    """Write an encoder with int8 weights. Blocks for a second.

    Args:
        base: A BERT encoder.
        folder: Folder to write; created if missing.

    Raises:
        EncoderError: The base is no BERT encoder of the usual kind, or torch lacks the integer product.
        OSError: The folder cannot be written.
    """
    check_kernel()
    state: Mapping[str, Tensor] = base.model.state_dict()
    tokenizer = getattr(base.tokenizer, "backend_tokenizer", None)
    try:
        shape = Shape(**{name: getattr(base.model.config, name) for name in Shape.__dataclass_fields__})
        if tokenizer is None:
            raise KeyError("tokenizer.json")
        weights = _quantised(state)
        pieces = WordPieces.of(tokenizer.to_str())
        expected = _encoder(base.model, base.tokenizer).encode(_PROBES)
        same = _encoder(MiniLM(state, shape), pieces).encode(_PROBES)
        small = _encoder(CompressedMiniLM(weights, shape), pieces).encode(_PROBES)
    except (AttributeError, KeyError, RuntimeError, ValueError) as exc:
        raise EncoderError(
            f"expected a BERT encoder to compress, found {base.label}, which lacks {exc}; use it as it is"
        ) from exc
    least = float((expected * small).sum(axis=1).min())
    if not np.allclose(same, expected, atol=1e-4) or not least >= LEAST_COSINE:
        raise EncoderError(
            f"expected a BERT encoder of the usual kind, whose embeddings survive 8 bits, found {base.label}"
            f" (cosine {least:.3f}); use it as it is"
        )
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {name: getattr(shape, name) for name in Shape.__dataclass_fields__}
    (folder / CONFIG).write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
    (folder / TOKENIZER).write_text(tokenizer.to_str(), encoding="utf-8")
    note = {"base": base.name, "base_version": base.version, "label": base.label}
    (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    save_file(dict(weights), folder / WEIGHTS)  # last, because this file makes the folder an encoder


def load_compressed(folder: Path) -> LoadedModel:
    """Load a compressed encoder. Blocks for a moment.

    Raises:
        EncoderDamaged: Files are missing, damaged or do not match each other.
        EncoderError: This build of torch lacks the integer product.
    """
    check_kernel()
    otherwise = "compress it again, or set [personalization] encoder to its base"
    with loading("the compressed encoder", str(folder), EncoderDamaged, otherwise):
        shape = Shape(**json.loads((folder / CONFIG).read_text(encoding="utf-8")))
        label = str(json.loads((folder / NOTE).read_text(encoding="utf-8"))["label"])
        weights = load_file(folder / WEIGHTS)
        if not all(bool(torch.isfinite(w).all()) for w in weights.values() if w.is_floating_point()):
            raise FileBroken(f"{folder / WEIGHTS} holds NaN or infinity: expected finite weights")
        content = " ".join(sha256_of(folder / name) for name in (WEIGHTS, CONFIG, TOKENIZER))
        tokenizer = WordPieces(folder / TOKENIZER)
        model = CompressedMiniLM(weights, shape)
        _encoder(model, tokenizer).encode(_PROBES)
    version = hashlib.sha256(content.encode()).hexdigest()[:16]
    return LoadedModel(str(folder), f"{label}+int8", version, model, tokenizer)


def _quantised(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Round the matrices of blocks and word embeddings to int8; pooler and position ids are left out."""
    found: dict[str, Tensor] = {}
    for name, weight in state.items():
        if not name.startswith(("embeddings.", "encoder.")) or not weight.is_floating_point():
            continue
        is_matrix = weight.dim() == 2 and (name.startswith("encoder.") or "word_embeddings" in name)
        if not is_matrix:
            found[name] = weight.detach().float().contiguous().clone()
            continue
        scale = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12)  # (rows,)
        found[name] = torch.round(weight / scale.unsqueeze(1)).to(torch.int8)
        found[name + _SCALE] = scale.detach().float()
    return found


def _encoder(model: Any, tokenizer: Any) -> TransformersEncoder:
    place = torch.device("cpu")
    return TransformersEncoder(model, tokenizer, encoder_id="on trial", device=place, batch_size=1)
