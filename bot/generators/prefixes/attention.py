"""Reads the beginning that several prompts share once, with a transformers model.

The shared tokens are read as one row. Their keys and values are repeated for each prompt, and only the
differing ends are read as k rows. The ends are padded on their left, behind the shared tokens. Models whose
state is more than keys and values of all tokens (recurrent ones, and those with a sliding window) read each
prompt as a whole.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from bot.generators.prefixes.kept import KeptPrefixes, n_common

_LEAST = 16
"""Shortest beginning that is read apart, tokens; for fewer a pass of their own costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts as the rows of one tensor.

    Attributes:
        input_ids: Shared tokens, padding, end of each prompt; (k, n) int64.
        attention_mask: 0 for padding; (k, n) int64.
        n_shared: Tokens at the start that all rows share.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    n_shared: int = field(default=0)

    @property
    def n(self) -> int:
        """Length of the rows, tokens."""
        return self.input_ids.shape[1]

    def inputs(self) -> dict[str, torch.Tensor]:
        """Return the tensors by the names that ``generate`` gives them."""
        return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}


def rows_of(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> Rows:
    """Return prompts as rows whose ends are padded on the left, behind the tokens that all of them share."""
    first, *others = prompts
    n_shared = min([len(first) - 1, *(min(n_common(first, one), len(one) - 1) for one in others)])
    n_shared = n_shared if n_shared >= _LEAST else 0
    n = max(map(len, prompts))
    padding = [n - len(prompt) for prompt in prompts]
    ids = [[*p[:n_shared], *[pad] * more, *p[n_shared:]] for p, more in zip(prompts, padding, strict=True)]
    mask = [[1] * n_shared + [0] * more + [1] * (n - more - n_shared) for more in padding]
    return Rows(torch.tensor(ids, device=device), torch.tensor(mask, device=device), n_shared)


class SharedReading:
    """Reads shared beginnings with one model, and keeps the last ones.

    Args:
        model: A causal language model.
    """

    def __init__(self, model: Any) -> None:
        self.prefixes: KeptPrefixes[Any] = KeptPrefixes()
        self._works = _is_plain(model)

    def read(self, model: Any, rows: Rows) -> dict[str, Any]:
        """Read what the rows share; return the further arguments of ``generate``. On the generation thread.

        Args:
            model: The model.
            rows: The prompts.
        """
        if not (self._works and rows.n_shared):
            return {}
        since = self.prefixes.epoch
        shared = rows.input_ids[0, : rows.n_shared].tolist()
        n_known, known = self.prefixes.longest(shared)
        cache = DynamicCache(config=model.config) if known is None else _copied(known)
        cache.crop(n_known - cache.get_seq_length())
        if n_known < len(shared):
            model.base_model(
                input_ids=rows.input_ids[:1, n_known : rows.n_shared], past_key_values=cache, use_cache=True
            )
        self.prefixes.keep(shared, cache, since=since)
        branched = _copied(cache)
        branched.batch_repeat_interleave(len(rows.input_ids))
        return {"past_key_values": branched}


def _is_plain(model: Any) -> bool:
    """Return whether a model keeps the keys and values of all tokens and nothing else."""
    if model.config.is_encoder_decoder or model._is_stateful:
        return False
    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)


def _copied(cache: Any) -> Any:
    """Copy a cache without its tensors: they are replaced when it grows, and never changed in place."""
    copied = copy.copy(cache)
    copied.layers = [copy.copy(layer) for layer in cache.layers]
    return copied
