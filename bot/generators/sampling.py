"""Plug-ins for transformers' ``generate``: a temperature per row, streaming of tokens, and cancellation.

Each row of a generation belongs to one style with its own temperature, which transformers' settings cannot
express. A generation must also stop when its request was cancelled: between two tokens, and while the model
reads a long prompt. Used only by ``bot/generators/local.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from bot.generators.role_markers import folded
from bot.generators.thinking import end_of_thought, has_thought, is_thought_mark, unfinished_thought
from bot.messages.sentences import sentence_ends


class ReadingInterrupted(Exception):
    """The request was cancelled before the model had read the prompt."""


_LOOK_EVERY = 8
"""Tokens between two looks at a thought."""
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


class LeastSentences(LogitsProcessor):
    """Keeps each row from ending before it has its fewest sentences.

    Args:
        n_prompt: Length of the prompts, tokens.
        least: Fewest sentences of each row (k).
        ends: Tokens that end a reply.
        decode: Returns the text of tokens (m,) int64.
    """

    def __init__(
        self, n_prompt: int, least: Sequence[int], ends: Iterable[int], decode: Callable[[torch.Tensor], str]
    ) -> None:
        self._n_prompt, self._ends, self._decode = n_prompt, list(ends), decode
        self._short = {row: n for row, n in enumerate(least) if n > 0}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        """Take the end tokens out of the scores (k, vocabulary) of the rows that are too short."""
        for row, least in list(self._short.items()):
            if len(sentence_ends(self._decode(input_ids[row, self._n_prompt :]))) < least:
                scores[row, self._ends] = -torch.inf
            else:
                del self._short[row]
        return scores


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


def readable(tokenizer: Any, row: torch.Tensor) -> str:
    """Decode tokens (n,) int64 without special ones, except the marks that tell thoughts from the answer."""
    added: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    special = {token for token, text in added.items() if text.special} | set(tokenizer.all_special_ids)
    kept = {token for token, text in added.items() if is_thought_mark(str(text))}
    return tokenizer.decode([token for token in row.tolist() if token not in special - kept])


class ThoughtBudget(StoppingCriteria):
    """Bounds the thoughts of each row, and then its answer.

    A thought that reaches its budget is ended by force, so that the model answers. The rows are looked at
    once in :data:`_LOOK_EVERY` tokens, so an answer may be longer by that much.

    Args:
        n_prompt: Length of the prompts, tokens.
        ends: For each row (k) the mark that ends the thought which its prompt opened; None: it opened none.
        limits: Longest answer of each row (k), tokens.
        thinking_tokens: Longest thought, tokens.
        tokenizer: Tokenizer of the model.
    """

    def __init__(
        self,
        n_prompt: int,
        ends: Sequence[str | None],
        limits: Sequence[int],
        thinking_tokens: int,
        tokenizer: Any,
    ) -> None:
        self._n_prompt, self._limits, self._budget = n_prompt, tuple(limits), thinking_tokens
        self._ends, self._tokenizer = tuple(ends), tokenizer
        self._answers_from: list[int | None] = [None] * len(ends)
        self._forced: list[list[int]] = [[] for _ in ends]
        self.most = thinking_tokens + 3 * _LOOK_EVERY
        self.processor = ForcedEnds(self._forced)

    def __call__(
        self, input_ids: torch.LongTensor, scores: tuple[torch.Tensor] | None, **_: object
    ) -> torch.BoolTensor:
        """Return for each row (k,) bool whether its answer is as long as it may be."""
        n_new = input_ids.shape[1] - self._n_prompt
        if n_new % _LOOK_EVERY == 0 or n_new == self._budget:
            for row, begun in enumerate(self._answers_from):
                if begun is None:
                    self._look_at(row, input_ids[row, self._n_prompt :], n_new)
        done = [
            begun is not None and n_new - begun >= limit
            for begun, limit in zip(self._answers_from, self._limits, strict=True)
        ]
        return cast(torch.BoolTensor, torch.tensor(done, device=input_ids.device))

    def _look_at(self, row: int, tokens: torch.Tensor, n_new: int) -> None:
        text, end = folded(readable(self._tokenizer, tokens)), self._ends[row]
        if not unfinished_thought(text, opened=end is not None):
            self._answers_from[row] = n_new if has_thought(text, opened=end is not None) else 0
        elif n_new >= self._budget:
            end = f"\n{end or end_of_thought(text) or ''}\n\n"
            self._forced[row] += self._tokenizer.encode(end, add_special_tokens=False)
            self._answers_from[row] = n_new + len(self._forced[row])


class ForcedEnds(LogitsProcessor):
    """Leaves only the next forced token of a row in its scores.

    Args:
        forced: Tokens still to be forced, for each row (k).
    """

    def __init__(self, forced: list[list[int]]) -> None:
        self._forced = forced

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        """Change the scores (k, vocabulary) float32."""
        for row, tokens in enumerate(self._forced):
            if tokens:
                scores[row] = -torch.inf
                scores[row, tokens.pop(0)] = 0.0
        return scores


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
