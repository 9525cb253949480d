"""Cuts a context to the token budget, with the server's own tokenizer where it offers one.

vLLM, llama.cpp and TGI count tokens at ``/tokenize``. The server is asked only if the estimate, which is on
the high side, exceeds the budget, and never with a text before it has counted the word "hello".
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import openai

from bot.generation import Context
from bot.generators.prompt import (
    Message,
    estimate,
    estimate_tokens,
    estimated_cut,
    fit,
    messages_of,
    with_note,
)

_TIMEOUT_S = 3.0
_AT_MOST = 16
"""Estimated tokens per counted token. A longer context is cut by the estimate before it is counted."""


class Fitting:
    """Cuts contexts for one model.

    Args:
        client: Open client of the server.
        base_url: Address of the server, with ``/v1``.
        model: Name of the model.
    """

    def __init__(self, client: openai.AsyncOpenAI, base_url: str, model: str) -> None:
        parts = urlsplit(base_url)
        path = parts.path.rstrip("/").removesuffix("/v1") + "/tokenize"
        self._client = client
        self._url = urlunsplit(parts._replace(path=path))
        self._model = model
        self._offered: bool | None = None

    async def fitted(self, context: Context, system: str, budget: int, note: str = "") -> Context:
        """Return the context, cut to the budget.

        Args:
            context: The context.
            system: The system prompt.
            budget: Maximum tokens of the whole prompt.
            note: The longest instruction that follows the message.
        """
        budget -= estimate_tokens(note)
        whole = await asyncio.to_thread(lambda: estimate(messages_of(system, context)))
        if whole <= budget:
            return context
        if not await self._is_offered():
            return await asyncio.to_thread(fit, context, system, budget, estimate, estimated_cut)
        loop = asyncio.get_running_loop()

        def count(text: str) -> int:
            """Block until the server has counted; fall back to the estimate. Runs on a thread."""
            counted = asyncio.run_coroutine_threadsafe(self._count(text), loop).result()
            return estimate([{"role": "user", "content": text}]) if counted is None else counted

        def measure(messages: Sequence[Message]) -> int:
            return count("\n".join(message["content"] for message in messages)) + 8 * len(messages)

        def cut(text: str, n_tokens: int) -> str:
            return text[: math.ceil(len(text) * min(1.0, n_tokens / max(1, count(text))))]

        def cut_down() -> Context:
            short = fit(context, system, _AT_MOST * budget, estimate, estimated_cut)
            return fit(short, system, budget, measure, cut)

        return await asyncio.to_thread(cut_down)

    async def size(self, context: Context, system: str, note: str = "") -> int:
        """Return the tokens of a whole prompt, in the same measure as the budget of :meth:`fitted`."""
        messages = with_note(messages_of(system, context), note)
        if await self._is_offered():
            counted = await self._count("\n".join(message["content"] for message in messages))
            if counted is not None:
                return counted + 8 * len(messages)
        return await asyncio.to_thread(estimate, messages)

    async def _is_offered(self) -> bool:
        """Return whether the server counts tokens. A server that says no is not asked again."""
        if self._offered is None:
            return await self._count("hello") is not None
        return self._offered

    async def _count(self, text: str) -> int | None:
        """Return the number of tokens, or None if the server does not say."""
        body = {"model": self._model, "prompt": text, "content": text, "inputs": text}
        client = self._client.with_options(max_retries=0, timeout=_TIMEOUT_S)
        try:
            counted = _counted(await client.post(self._url, cast_to=object, body=body))
        except (openai.APIConnectionError, openai.InternalServerError, openai.RateLimitError):
            return None  # it may say so the next time
        except (openai.APIError, ValueError):  # no such page, or no JSON
            counted = None
        self._offered = counted is not None
        return counted


def _counted(data: Any) -> int | None:
    """Return the number of tokens in an answer of vLLM, llama.cpp or TGI."""
    tokens = data.get("count", data.get("tokens")) if isinstance(data, dict) else data
    if isinstance(tokens, list):
        return len(tokens)
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0 else None
