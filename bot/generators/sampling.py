"""How the next token is drawn when several styles are generated together.

Each row of a generation belongs to one style with a temperature of its own, which transformers' settings
cannot say; and a generation must be able to stop between two tokens when nobody waits for it any more. Both
are small plug-ins to ``generate``, used by ``bot/generators/local.py`` alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import cast

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

_COLDEST = 0.01
"""Below this, dividing by the temperature would leave the number range."""


class RowTemperatures(LogitsProcessor):
    """Divides each row's scores by its own temperature.

    Args:
        temperatures: One per row (k), 0 to 2; at 0 only the likeliest token is left.
    """

    def __init__(self, temperatures: Sequence[float], device: torch.device) -> None:
        given = torch.tensor(temperatures, dtype=torch.float32, device=device)[:, None]  # (k, 1)
        self._temperatures = given.clamp(min=_COLDEST)
        self._greedy = given == 0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        """Scale the scores (k, vocabulary) float32."""
        unlikely = self._greedy & (scores < scores.max(dim=-1, keepdim=True).values)
        return (scores / self._temperatures).masked_fill(unlikely, -torch.inf)


class TellsTokens(BaseStreamer):
    """Tells every new token of a single row, with those before it.

    Args:
        tell: Given the new tokens so far, (m,) int64 on the CPU.
    """

    def __init__(self, tell: Callable[[torch.Tensor], None]) -> None:
        self._tell = tell
        self._rows: list[torch.Tensor] = []
        self._is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt, once, then one token after the other."""
        if not self._is_prompt:
            self._rows.append(value.reshape(-1).cpu())
            self._tell(torch.cat(self._rows))
        self._is_prompt = False

    def end(self) -> None:
        """Nothing is left to be told."""


class StopWhenSet(StoppingCriteria):
    """Ends all rows as soon as one of the events is set."""

    def __init__(self, *events: threading.Event) -> None:
        self._events = events

    def __call__(
        self, input_ids: torch.LongTensor, scores: tuple[torch.Tensor] | None, **_: object
    ) -> torch.BoolTensor:
        """Tell for each row (k,) whether it is done."""
        stop = any(event.is_set() for event in self._events)
        rows = torch.full((input_ids.shape[0],), stop, device=input_ids.device, dtype=torch.bool)
        return cast(torch.BoolTensor, rows)
