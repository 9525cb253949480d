"""The shared encoder with a LoRA adapter: trained with gradients, saved as a folder, loaded merged.

An adapter is some hundred kilobytes of low-rank changes of the encoder's linear layers, trained by
:mod:`personalization.lab.adapting.adaptation`; the encoder's own files do not change. Loading merges the
adapter into the weights, so an adapted encoder is an ordinary model at reply time. Its id is the hash of base
and adapter, so that their features are never mixed up. The base is loaded, too: it computes the relevance of
a reply to a message, which must not be trained.

The only module that imports peft, which comes with the extra ``adapt``. Imports torch, and transformers
through :mod:`personalization.encoding.encoder`; nothing of storage or Discord.

Source: Hu et al. (2022), LoRA: Low-Rank Adaptation of Large Language Models.
"""

# peft ships without full types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import warnings
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from personalization.arrays import FloatArray
from personalization.encoding.adapter_shape import AdapterShape
from personalization.encoding.encoder import (
    ENCODING,
    LoadedModel,
    TransformersEncoder,
    load_model,
    mean_of_tokens,
    sha256_of,
)
from personalization.errors import AdapterTrouble, EncoderDamaged

CONFIG, WEIGHTS, NOTE = "adapter_config.json", "adapter_model.safetensors", "simpatico.json"
"""Files of an adapter folder: the first two are PEFT's own, the third records the base encoder."""


ATTENTION = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "Wqkv")
"""Names of the query and value layers in common encoders."""


class AdaptableEncoder:
    """An encoder with an adapter in training; all other weights are frozen.

    Args:
        base: The encoder to adapt.
        shape: Hyperparameters of the adapter.
        device: Where to train.
        seed: Seed of the adapter's initial weights, whose change is zero.

    Attributes:
        dim: Length of one embedding (d).

    Raises:
        AdapterTrouble: peft is not installed, or the model has no layers to adapt.
    """

    def __init__(self, base: LoadedModel, shape: AdapterShape, device: torch.device, *, seed: int) -> None:
        peft = _peft()
        config = peft.LoraConfig(
            r=shape.rank,
            lora_alpha=shape.alpha,
            lora_dropout=shape.dropout,
            target_modules=_targets(base, shape),
        )
        with torch.random.fork_rng(), _quiet():
            torch.manual_seed(seed)
            self._model: Any = peft.get_peft_model(base.model, config).to(device)
        self._base = base
        self.device = device
        self.dim = int(base.model.config.hidden_size)
        self._plain = TransformersEncoder(
            self._model, base.tokenizer, encoder_id="in training", device=device, batch_size=32
        )

    def encode(self, texts: Sequence[str], *, frozen: bool = False) -> FloatArray:
        """Encode without dropout, by the current adapter, or by the base if ``frozen``. Blocks.

        Returns:
            ``n x d`` float32, each row of length 1.
        """
        self._model.eval()
        with self._model.disable_adapter() if frozen else contextlib.nullcontext():
            return self._plain.encode(texts)

    def embed(self, texts: Sequence[str], *, max_tokens: int, dtype: torch.dtype) -> Tensor:
        """Encode with gradients and dropout.

        Args:
            texts: Texts to encode.
            max_tokens: Tokens after which texts are truncated.
            dtype: Type of matrix products: float32, or bfloat16 or float16 on a GPU.

        Returns:
            ``n x d`` float32, each row of length 1.
        """
        self._model.train()
        mixed = dtype != torch.float32
        with torch.autocast(self.device.type, dtype=dtype, enabled=mixed):
            return mean_of_tokens(self._model, self._base.tokenizer, texts, self.device, max_tokens).float()

    @contextlib.contextmanager
    def words(self, change: Tensor | None = None) -> Generator[list[Tensor]]:
        """Observe the word embeddings in the forward passes of :meth:`embed`, and change them.

        Args:
            change: Added to the word embeddings, ``n x tokens x d``; None: they are only observed.

        Yields:
            A list that gets the word embeddings of each pass, ``n x tokens x d``, with gradients.
        """
        seen = list[Tensor]()

        def observe(module: object, inputs: object, states: Tensor) -> Tensor:
            seen.append(states.detach().requires_grad_() if change is None else states + change)
            return seen[-1]

        hook = self._model.get_input_embeddings().register_forward_hook(observe)
        try:
            yield seen
        finally:
            hook.remove()

    def trained(self) -> dict[str, Tensor]:
        """Return the trainable weights by name: the tensors themselves, not copies."""
        return {name: weight for name, weight in self._model.named_parameters() if weight.requires_grad}

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Set the trainable weights to these values."""
        with torch.no_grad():
            for name, weight in self.trained().items():
                weight.copy_(weights[name])

    def save(self, folder: Path, about: Mapping[str, Any]) -> None:
        """Write the adapter as a folder that :func:`load_adapted` and PEFT read.

        Args:
            folder: Folder to write; created if missing.
            about: Plain JSON to store with it.

        Raises:
            OSError: The folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # Without this flag, PEFT asks the network whether the base's vocabulary has grown. It has not.
        weights = _peft().get_peft_model_state_dict(self._model, save_embedding_layers=False)
        save_file({name: w.detach().cpu().contiguous() for name, w in weights.items()}, folder / WEIGHTS)
        config = copy.copy(self._model.peft_config["default"])
        config.base_model_name_or_path, config.inference_mode = None, True
        config.save_pretrained(str(folder))
        note = {"base": self._base.name, "base_version": self._base.version, **about}
        (folder / NOTE).write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")


def _targets(base: LoadedModel, shape: AdapterShape) -> list[str]:
    """Return the names of the linear layers to adapt; all of them if no query or value layer is recognised.

    Raises:
        AdapterTrouble: There are no linear layers in numbered blocks.
    """
    n_blocks = int(getattr(base.model.config, "num_hidden_layers", 0))
    first = 0 if shape.layers is None else max(0, n_blocks - shape.layers)
    # A block's layers have its number in their names. Layers outside blocks, such as a pooler, are not used.
    found = [
        name
        for name, module in base.model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and any(part.isdigit() and int(part) >= first for part in name.split("."))
    ]
    if not found:
        raise AdapterTrouble(f"expected an encoder with linear layers in numbered blocks, found {base.label}")
    attention = [name for name in found if name.rsplit(".", 1)[-1] in ATTENTION]
    return attention if shape.attention_only and attention else found


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter."""
    return (folder / CONFIG).is_file()


def load_adapted(folder: Path, device: torch.device, batch_size: int) -> TransformersEncoder:
    """Load an adapter and its base encoder, merged. Blocks for seconds.

    Args:
        folder: Folder of the adapter.
        device: Where the encoder runs.
        batch_size: Texts in one forward pass.

    Raises:
        AdapterTrouble: peft is not installed.
        EncoderMissing: The base encoder is missing.
        EncoderDamaged: The files are not an adapter's, or the adapter was made for another version of the
            base.
    """
    peft = _peft()
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        name, version = str(note["base"]), str(note["base_version"])
        weights = load_file(
            folder / WEIGHTS
        )  # checks that it is complete; PEFT would accept a pickle instead
        if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
            raise ValueError("NaN or infinity among its weights")
        content = f"{version} {sha256_of(folder / WEIGHTS)} {sha256_of(folder / CONFIG)}"
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as exc:
        raise EncoderDamaged(
            f"expected {CONFIG}, {WEIGHTS} and {NOTE} of an adapter in {folder}, found"
            f" {type(exc).__name__}: {exc}; adapt again, or set [personalization] encoder to the base"
        ) from exc
    base = load_model(name)
    if base.version != version:
        raise EncoderDamaged(
            f"expected the encoder {name} of version {version}, which the adapter in {folder} was made for,"
            f" found version {base.version}; adapt again, or restore that encoder"
        )
    plain = TransformersEncoder(
        base.model, base.tokenizer, encoder_id=base.encoder_id, device=device, batch_size=batch_size
    )
    try:
        with _quiet():
            merged = peft.PeftModel.from_pretrained(load_model(name).model, str(folder)).merge_and_unload()
    except (ValueError, RuntimeError, KeyError, TypeError) as exc:
        raise EncoderDamaged(
            f"expected an adapter for {name} in {folder}, found one that does not fit ({exc}); adapt again,"
            " or set [personalization] encoder to the base"
        ) from exc
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    return TransformersEncoder(
        merged,
        base.tokenizer,
        encoder_id=f"{base.label}+lora@{digest}/{ENCODING}",
        device=device,
        batch_size=batch_size,
        frozen=plain,
    )


def _peft() -> Any:
    try:
        import peft  # imported here, because it is an extra and takes seconds
    except ModuleNotFoundError as exc:
        raise AdapterTrouble(
            "expected the package peft, which adapted encoders need, found none;"
            " pip install 'simpatico[adapt]'"
        ) from exc
    return cast("Any", peft)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Hide PEFT's warnings, which concern its own and transformers' code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
