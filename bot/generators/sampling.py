"""Plug-ins for transformers' ``generate``: a temperature per row, streaming of tokens, and cancellation.

Each row of a generation belongs to one style with its own temperature, which transformers' settings cannot
express. A generation must also stop when its request was cancelled: between two tokens, and while the model
reads a long prompt. Used only by ``bot/generators/local.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer


class ReadingInterrupted(Exception):
    """The request was cancelled before the model had read the prompt."""


_COLDEST = 0.01
"""Lowest temperature to divide by; a lower one would overflow."""


class RowTemperatures(LogitsProcessor):
    """Divides the scores of each row by the temperature of that row.

    Args:
        temperatures: One per row (k), 0 to 2; 0 keeps only the most likely token.
    """

    def __init__(self, temperatures: Sequence[float], device: torch.device) -> None:
        given = torch.tensor(temperatures, dtype=torch.float32, device=device)[:, None]  # (k, 1)
        self._temperatures = given.clamp(min=_COLDEST)
        self._greedy = given == 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        """Scale the scores (k, vocabulary) float32."""
        unlikely = self._greedy & (scores < scores.max(dim=-1, keepdim=True).values)
        return (scores / self._temperatures).masked_fill(unlikely, -torch.inf)


class TokenStreamer(BaseStreamer):
    """Passes the new tokens of a single row to a callback, each time a token is added.

    Args:
        on_tokens: Called with all new tokens so far, (m,) int64 on the CPU.
    """

    def __init__(self, on_tokens: Callable[[torch.Tensor], None]) -> None:
        self._on_tokens = on_tokens
        self._rows: list[torch.Tensor] = []
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        """Receive the prompt once, then one token at a time."""
        if not self._is_prompt:
            self._rows.append(value.reshape(-1).cpu())
            self._on_tokens(torch.cat(self._rows))
        self._is_prompt = False

    def end(self) -> None:
        """Do nothing: every token has been passed on."""


class StopWhenSet(StoppingCriteria):
    """Stops all rows as soon as one of the events is set."""

    def __init__(self, *events: threading.Event) -> None:
        self._events = events

    def __call__(
        self, input_ids: torch.LongTensor, scores: tuple[torch.Tensor] | None, **_: object
    ) -> torch.BoolTensor:
        """Return for each row (k,) bool whether it is done."""
        stop = any(event.is_set() for event in self._events)
        rows = torch.full((input_ids.shape[0],), stop, device=input_ids.device, dtype=torch.bool)
        return cast(torch.BoolTensor, rows)


class RowLimits(StoppingCriteria):
    """Stops each row at its own number of new tokens.

    Args:
        n_prompt: Length of the prompts, tokens.
        limits: Most new tokens of each row (k).
    """

    def __init__(self, n_prompt: int, limits: Sequence[int], device: torch.device) -> None:
        self._n_prompt = n_prompt
        self._limits = torch.tensor(limits, device=device)  # (k,) int64

    def __call__(
        self, input_ids: torch.LongTensor, scores: tuple[torch.Tensor] | None, **_: object
    ) -> torch.BoolTensor:
        """Return for each row (k,) bool whether it is done."""
        return cast(torch.BoolTensor, self._limits <= input_ids.shape[1] - self._n_prompt)


@contextmanager
def interruptible_reading(model: torch.nn.Module, *events: threading.Event) -> Iterator[None]:
    """End the model's first forward pass, which reads the whole prompt, before a layer if an event is set.

    A long prompt takes seconds to minutes on a CPU. The events are checked before every layer of the first
    pass only, so that generating does not become slower.

    Raises:
        ReadingInterrupted: An event was set during the first pass.
    """

    def check(*_: object) -> None:
        if any(event.is_set() for event in events):
            raise ReadingInterrupted

    def remove(*_: object) -> None:
        for handle in handles:
            handle.remove()

    leaves = [module for module in model.modules() if next(module.children(), None) is None]
    handles = [leaf.register_forward_pre_hook(check) for leaf in leaves]
    handles.append(model.register_forward_hook(remove))
    try:
        yield
    finally:
        remove()
