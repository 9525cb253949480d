"""The packaged encoder, all-MiniLM-L6-v2, as plain torch operations on its memory-mapped weights.

Replaces the BERT model and tokenizer of transformers for this one model. Importing those costs 150 MB of
memory and seconds at every start, because they bring training, compilation and distribution along. The
embeddings are the same bit for bit (``tests/unit/personalization/encoding/test_minilm.py``). Other encoders
are loaded by transformers (:mod:`personalization.encoding.encoder`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear, scaled_dot_product_attention

_BLOCK = "encoder.layer."


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a BERT model; the fields are named as in its ``config.json``."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float


@dataclass(frozen=True, slots=True)
class States:
    """Result of a forward pass: the last hidden states, ``n x tokens x d`` float32."""

    last_hidden_state: Tensor


class Tokens(dict[str, Tensor]):
    """Token ids and attention mask, each ``n x tokens`` int64."""

    def to(self, device: torch.device) -> Tokens:
        """Return the same tokens on another device."""
        return Tokens({name: tensor.to(device) for name, tensor in self.items()})


class WordPieces:
    """Tokenizer of the model, called as a tokenizer of transformers is.

    Args:
        path: ``tokenizer.json`` of the model.
    """

    def __init__(self, path: Path) -> None:
        self._tokenizer: Any = Tokenizer.from_file(str(path))  # an extension type, typed in part

    @classmethod
    def of(cls, body: str) -> WordPieces:
        """Make a tokenizer from the content of a ``tokenizer.json``."""
        made = cls.__new__(cls)
        made._tokenizer = Tokenizer.from_str(body)
        return made

    @property
    def backend_tokenizer(self) -> Any:
        """The tokenizer of the library tokenizers, named as in transformers."""
        return self._tokenizer

    def __call__(
        self, texts: Sequence[str], *, padding: bool, truncation: bool, max_length: int, return_tensors: str
    ) -> Tokens:
        """Tokenize texts, truncated to ``max_length`` and padded to the longest."""
        assert padding and truncation and return_tensors == "pt"  # the encoder asks for nothing else
        self._tokenizer.enable_truncation(max_length)
        self._tokenizer.enable_padding()
        found = self._tokenizer.encode_batch(list(texts))
        return Tokens(
            input_ids=torch.tensor([one.ids for one in found]),  # (n, tokens)
            attention_mask=torch.tensor([one.attention_mask for one in found]),  # (n, tokens)
        )


class MiniLM:
    """A BERT encoder without pooler and dropout.

    Args:
        weights: Weights by their names in ``model.safetensors``, float32.
        shape: Sizes of the model.
    """

    def __init__(self, weights: Mapping[str, Tensor], shape: Shape) -> None:
        self._weights = weights
        self.config = shape

    def to(self, device: torch.device) -> MiniLM:
        """Return the model on another device; on the CPU the weights stay memory-mapped."""
        return type(self)({name: weight.to(device) for name, weight in self._weights.items()}, self.config)

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the weights by name."""
        return self._weights

    def eval(self) -> MiniLM:
        """Return the model itself; it has no training mode."""
        return self

    def __call__(self, *, input_ids: Tensor, attention_mask: Tensor) -> States:
        """Compute the last hidden states of ``n x tokens`` int64 ids under their mask."""
        mask = None if bool(attention_mask.all()) else attention_mask[:, None, None, :].bool()
        states = self._embedded(input_ids)  # (n, tokens, d)
        for i in range(self.config.num_hidden_layers):
            states = self._block(f"{_BLOCK}{i}.", states, mask)
        return States(states)

    def _embedded(self, input_ids: Tensor) -> Tensor:
        """Return the sum of word, type and position embeddings, normalised: ``n x tokens x d``."""
        words = self._words(input_ids)
        kinds = self._weights["embeddings.token_type_embeddings.weight"][0]  # every text is of the first type
        places = self._weights["embeddings.position_embeddings.weight"][: input_ids.shape[1]]
        return self._normalised("embeddings.LayerNorm", words + kinds + places)

    def _words(self, input_ids: Tensor) -> Tensor:
        return embedding(input_ids, self._weights["embeddings.word_embeddings.weight"])

    def _block(self, name: str, states: Tensor, mask: Tensor | None) -> Tensor:
        """Apply one block, attention then two linear layers: ``n x tokens x d`` to the same shape."""
        heads = (*states.shape[:2], self.config.num_attention_heads, -1)
        query, key, value = (
            self._linear(f"{name}attention.self.{part}", states).view(heads).transpose(1, 2)
            for part in ("query", "key", "value")
        )  # (n, heads, tokens, d / heads)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = attended.transpose(1, 2).reshape(states.shape)  # (n, tokens, d)
        attended = self._linear(f"{name}attention.output.dense", attended)
        states = self._normalised(f"{name}attention.output.LayerNorm", attended + states)
        inner = gelu(self._linear(f"{name}intermediate.dense", states))  # (n, tokens, 4 d)
        return self._normalised(
            f"{name}output.LayerNorm", self._linear(f"{name}output.dense", inner) + states
        )

    def _linear(self, name: str, states: Tensor) -> Tensor:
        return linear(states, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normalised(self, name: str, states: Tensor) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return layer_norm(states, weight.shape, weight, bias, self.config.layer_norm_eps)


def load_minilm(folder: Path) -> tuple[MiniLM, WordPieces]:
    """Open the model in a folder; its weights are read from the file as they are used.

    Raises:
        OSError: A file cannot be read.
        SafetensorError: The weights are damaged.
        KeyError: The configuration lacks a size.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shape = Shape(**{name: config[name] for name in Shape.__dataclass_fields__})
    with cast("Any", safe_open)(folder / "model.safetensors", framework="pt") as file:
        weights: dict[str, Tensor] = {name: file.get_tensor(name) for name in list(file.keys())}
    return MiniLM(weights, shape), WordPieces(folder / "tokenizer.json")
