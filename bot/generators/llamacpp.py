"""Candidates from a GGUF file through llama.cpp in this process: the fast way on a CPU.

llama.cpp computes with the quantised weights as they are, where transformers unpacks them first; on two
cores the packaged model writes several times as fast and starts without a conversion (docs/benchmarks.md).
All styles are asked for at once and share the batches of one model; one reply is written at a time, first in,
first out, and the event loop never waits. A cancelled request stops at its next token.

The library runs the model as a server inside this process. What it opens besides, a port on the loopback
interface, asks for a key that nobody has.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import xllamacpp

from bot.generation import Candidate, Context, GeneratorError, GeneratorUnavailable, ModelMissing, Style
from bot.generators.cleaning import Written, candidates_of
from bot.generators.continuing import Emit, texts_from_thread
from bot.generators.prompt import estimate, estimated_cut, fit, messages_of, system_text, without_system
from bot.settings import GeneratorSettings

_LIBRARY: Final[Any] = xllamacpp  # an extension module without types
_SAMPLING: Final = {"top_p": 0.9, "min_p": 0.1}
_TEMPLATE_TOKENS = 64
"""Room for what a chat template writes around the messages."""


class LlamaCppGenerator:
    """A GGUF model on this machine.

    Args:
        server: llama.cpp with its model loaded.
        settings: Persona, token budgets.
        label: What to call the model.
    """

    def __init__(self, server: Any, settings: GeneratorSettings, label: str) -> None:
        self._server: Any = server
        self._settings = settings
        self._name = f"{label} on CPU, llama.cpp"
        self._turn = asyncio.Lock()
        self._closing = threading.Event()
        self._threads = ThreadPoolExecutor(settings.candidates, "generation")

    @classmethod
    def load(cls, model: Path, settings: GeneratorSettings, *, n_threads: int) -> LlamaCppGenerator:
        """Load a GGUF file. Blocks: call from a thread.

        Args:
            model: The file.
            settings: Persona, token budgets, candidates (k): so many are written side by side.
            n_threads: Threads to compute with; on contended cores one more than are free costs much.

        Raises:
            ModelMissing: The file is not there, or llama.cpp cannot read it.
        """
        params = _LIBRARY.CommonParams()
        params.model.path = str(model)
        params.n_parallel = settings.candidates
        per_candidate = settings.context_tokens + settings.max_new_tokens + _TEMPLATE_TOKENS
        params.n_ctx = settings.candidates * per_candidate
        params.kv_unified = False  # a slot of its own for each candidate
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
        params.verbosity = -1  # it would log prompts
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.api_keys = [secrets.token_urlsafe(32)]
        params.ui = params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
        try:
            server = _LIBRARY.Server(params)
        except RuntimeError as exc:
            raise ModelMissing(
                f"the model {model} cannot be loaded; expected a GGUF file that llama.cpp can read: "
                "copy it again"
            ) from exc
        _await_loop(server)
        label = model.stem if settings.model != "packaged" else "SmolLM2-135M-Instruct"
        return cls(server, settings, label)

    @property
    def name(self) -> str:
        """Model, device and runtime in words."""
        return self._name

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Generate one candidate per style; blank and repeated ones are left out.

        Raises:
            GeneratorUnavailable: The generator was closed, or no candidate could be written.
            GeneratorError: Everything the model wrote was blank.
        """
        loop, cancelled = asyncio.get_running_loop(), threading.Event()
        async with self._turn:
            if self._closing.is_set():
                raise GeneratorUnavailable("the language model was closed; restart the bot")
            jobs = [
                loop.run_in_executor(self._threads, self._write, context, style, cancelled)
                for style in styles
            ]
            try:
                written = await asyncio.gather(*jobs)
            except asyncio.CancelledError:
                cancelled.set()
                await asyncio.wait(jobs)  # each stops at its next token; the model is free when we say so
                raise
        if self._closing.is_set():
            raise GeneratorUnavailable("the language model was closed while it wrote")
        if not (candidates := candidates_of(written, drafts=self._settings.drafts)):
            raise GeneratorError("the language model wrote nothing; ask again in other words")
        return candidates

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Go on with a candidate; see :class:`~bot.generation.CandidateGenerator`.

        Raises:
            GeneratorUnavailable: The generator was closed, or llama.cpp refuses the prompt.
        """

        def work(emit: Emit, stop: threading.Event) -> bool:
            return self._write(context, style, stop, begun=begun, emit=emit).cut_off

        async with self._turn:
            if self._closing.is_set():
                raise GeneratorUnavailable("the language model was closed; restart the bot")
            async with aclosing(texts_from_thread(self._threads, work, begun)) as texts:
                async for text in texts:
                    yield text

    def use_persona(self, persona: str) -> None:
        """Be somebody else from the next prompt on."""
        self._settings = replace(self._settings, persona=persona)

    async def close(self) -> None:
        """Stop a running generation at its next token and free the model. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        async with self._turn:
            await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._threads.shutdown()
        self._server = None

    def _write(
        self,
        context: Context,
        style: Style,
        cancelled: threading.Event,
        *,
        begun: str = "",
        emit: Emit = lambda _: None,
    ) -> Written:
        """Write one candidate, or what follows a begun one. Runs on a generation thread.

        A prompt that is longer than its estimate is cut once more, in the proportion that llama.cpp counted;
        a template without a system role, or that wants roles to alternate, gets the prompt in the first turn.
        """
        system = system_text(context.persona_or(self._settings.persona), style)
        limit = self._settings.further_tokens if begun else self._settings.candidate_tokens
        budget, folded = self._settings.context_tokens, False
        while True:
            fitted = fit(context, system, budget, estimate, estimated_cut)
            messages = messages_of(system, fitted)
            if folded:
                messages = without_system(messages)
            if begun:  # llama.cpp goes on with an answer that stands at the end
                messages.append({"role": "assistant", "content": begun})
            answer = _Answer(lambda: cancelled.is_set() or self._closing.is_set(), emit)
            self._server.handle_chat_completions(
                _SAMPLING
                | {
                    "messages": messages,
                    "temperature": style.temperature,
                    "max_tokens": limit,
                    "stream": True,
                },
                answer.take,
            )
            if answer.error is None:
                return Written(
                    "".join(answer.pieces),
                    style.name,
                    cut_off=answer.finish == "length" or cancelled.is_set(),
                )
            shorter = _shorter(answer.error, budget)
            if shorter is not None and shorter < budget:
                budget = shorter
            elif shorter is None and not folded:
                folded = True
            else:
                raise GeneratorUnavailable(
                    "llama.cpp refused the prompt; shorten [generator] persona, or lower context_tokens"
                )


def _await_loop(server: Any) -> None:
    """Return when llama.cpp's thread has taken its first task: one token.

    The library says that it is ready a moment before that thread starts to listen. Freed within this moment,
    it never hears that it shall end, and whoever frees it waits for ever with all of Python.
    """
    server.handle_completions({"prompt": "a", "n_predict": 1})


class _Answer:
    """Collects the pieces of one streamed answer; tells llama.cpp to stop when nobody waits for it.

    Args:
        unwanted: Asked after each piece.
        emit: Given everything so far after each piece.
    """

    def __init__(self, unwanted: Callable[[], bool], emit: Emit) -> None:
        self.pieces: list[str] = []
        self.finish: str | None = None
        self.error: dict[str, Any] | None = None
        self._unwanted = unwanted
        self._emit = emit

    def take(self, chunk: dict[str, Any]) -> bool:
        """Take one chunk; True ends the generation."""
        if "error" in chunk:
            self.error = chunk["error"]
            return True
        for choice in chunk.get("choices", ()):
            self.pieces.append(choice.get("delta", {}).get("content") or "")
            self.finish = choice.get("finish_reason") or self.finish
        self._emit("".join(self.pieces))
        return self._unwanted()


def _shorter(error: dict[str, Any], budget: int) -> int | None:
    """The budget under which a prompt that was too long would fit; None when that was not the trouble."""
    if error.get("type") != "exceed_context_size_error":
        return None
    return int(budget * error["n_ctx"] / (error["n_prompt_tokens"] + _TEMPLATE_TOKENS) * 0.9)
