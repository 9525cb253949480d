"""Reads the streamed answers of llama.cpp in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.generators.continuing import Emit


def await_loop(server: Any) -> None:
    """Wait until the worker thread of llama.cpp accepts tasks, by generating one token.

    The constructor returns before its worker thread listens for shutdown. Destroying the object in that
    window deadlocks while holding the GIL.
    """
    server.handle_completions({"prompt": "a", "n_predict": 1})


class Answer:
    """Collects the pieces of one streamed answer, and stops llama.cpp when the request is cancelled.

    Args:
        cancelled: Called after each piece; True stops the generation.
        emit: Receives all text so far after each piece.
    """

    def __init__(self, cancelled: Callable[[], bool], emit: Emit) -> None:
        self.pieces: list[str] = []
        self.finish: str | None = None
        self.thought = False
        self.error: dict[str, Any] | None = None
        self._cancelled = cancelled
        self._emit = emit

    def take(self, chunk: dict[str, Any]) -> bool:
        """Process one chunk; return True to stop the generation."""
        if "error" in chunk:
            self.error = chunk["error"]
            return True
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta", {})
            self.pieces.append(delta.get("content") or "")
            self.thought |= bool(delta.get("reasoning_content"))
            self.finish = choice.get("finish_reason") or self.finish
        self._emit("".join(self.pieces))
        return self._cancelled()


def shorter_budget(error: dict[str, Any], budget: int, spare: int) -> int | None:
    """Return a budget under which a too long prompt fits; None if the error is another one.

    Args:
        error: Error of llama.cpp.
        budget: Budget of the prompt that it refused, tokens.
        spare: Tokens to leave free.
    """
    if error.get("type") != "exceed_context_size_error":
        return None
    return int(budget * error["n_ctx"] / (error["n_prompt_tokens"] + spare) * 0.9)
