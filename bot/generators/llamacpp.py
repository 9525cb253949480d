"""Generator that runs a GGUF file with llama.cpp in this process; the fastest way on a CPU.

llama.cpp computes with quantised weights, whereas transformers unpacks them first. On two cores the packaged
model generates several times as fast and starts without a conversion (docs/benchmarks.md). All styles of a
reply are decoded in the same batches. Replies are generated one at a time, first in, first out, and the event
loop never blocks. A cancelled request stops at its next token, or while the model reads the prompt.

The library runs the model as a server inside this process. It also opens a port on the loopback interface,
which is locked with a random key.
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

from bot.generation import Candidate, Context, GeneratorUnavailable, ModelMissing, Style, name_of_model
from bot.generators.cleaning import Written, candidates_of, names_of
from bot.generators.continuing import Emit, texts_from_thread
from bot.generators.gguf_tokens import control_tokens
from bot.generators.prompt import estimate, estimated_cut, fit, messages_of, system_text, without_system
from bot.generators.role_markers import ModelMarkers, defuse, markers_in
from bot.generators.thinking import NO_THOUGHT, opens_thought, template_options
from bot.settings import GeneratorSettings
from personalization.loading_errors import loading

_LIBRARY: Final[Any] = xllamacpp  # an extension module without types
_SAMPLING: Final = {"top_p": 0.9, "min_p": 0.1}
_NO_MARKERS: Final = ModelMarkers()
_READ_AT_ONCE: Final = 64
"""Tokens of a prompt between two looks at a cancellation; fewer make reading slower.

Measured with the packaged model on one busy core: 64 take 0.9 s at most, and the whole prompt takes a tenth
longer than in batches of 2,048.
"""
_TEMPLATE_TOKENS = 64
"""Token allowance for the markup of the chat template."""


class LlamaCppGenerator:
    """A GGUF model on this machine.

    Args:
        server: llama.cpp with its model loaded.
        settings: Persona, token budgets.
        label: Name of the model for people.
        markers: Role markers of the model that the table does not hold.
        template: Chat template of the model; empty: not known.
    """

    def __init__(
        self,
        server: Any,
        settings: GeneratorSettings,
        label: str,
        *,
        markers: ModelMarkers = _NO_MARKERS,
        template: str = "",
    ) -> None:
        self._server: Any = server
        self._settings = settings
        self._markers = markers
        self._template = template
        self._name = f"{label} on CPU, llama.cpp"
        self._turn = asyncio.Lock()
        self._closing = threading.Event()
        self._threads = ThreadPoolExecutor(settings.candidates, "generation")

    @classmethod
    def load(cls, model: Path, settings: GeneratorSettings, *, n_threads: int) -> LlamaCppGenerator:
        """Load a GGUF file. Blocks: call from a thread.

        Args:
            model: The file.
            settings: Persona, token budgets, and candidates (k), which are generated in parallel.
            n_threads: Compute threads; one more than there are free cores slows generation down a lot.

        Raises:
            ModelMissing: The file does not exist, or llama.cpp cannot read it.
        """
        params = _LIBRARY.CommonParams()
        params.model.path = str(model)
        params.n_parallel = settings.candidates
        per_candidate = (
            settings.context_tokens + settings.max_new_tokens + settings.thinking_tokens + _TEMPLATE_TOKENS
        )
        params.n_ctx = settings.candidates * per_candidate
        params.n_batch = max(_READ_AT_ONCE, settings.candidates)
        params.kv_unified = False  # one slot per candidate
        params.cache_ram_mib = 0  # by default up to 8 GB of earlier prompts of members stay in memory
        if settings.model == "packaged":  # a quarter of the slots' memory; not every model can do it
            params.cache_type_k = _LIBRARY.ggml_type.GGML_TYPE_Q8_0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
        params.verbosity = -1  # otherwise it logs prompts
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.api_keys = [secrets.token_urlsafe(32)]
        params.ui = params.endpoint_slots = params.endpoint_props = params.endpoint_metrics = False
        # llama.cpp does not say why it refuses a file.
        otherwise = "choose a GGUF file whose architecture and quantisation llama.cpp knows"
        with loading("the language model", str(model), ModelMissing, otherwise):
            server = _LIBRARY.Server(params)
            tokens, template = control_tokens(model)
        _await_loop(server)
        label = name_of_model(settings.model)
        return cls(server, settings, label, markers=markers_in(tokens, template), template=template)

    @property
    def name(self) -> str:
        """Model, device and runtime in words."""
        return self._name

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Generate one candidate per style; leave out blank and repeated ones.

        Raises:
            GeneratorUnavailable: The generator was closed, or llama.cpp refused the prompt.
            OnlyThoughts: The model thought and gave no answer.
            GeneratorError: All candidates were blank.
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
                await asyncio.wait(jobs)  # each stops at its next token; then the model is free
                raise
        if self._closing.is_set():
            raise GeneratorUnavailable("the language model was closed during generation")
        names = names_of(context, self._settings.persona)
        return candidates_of(written, drafts=self._settings.drafts, markers=self._markers.ends, names=names)

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Continue a candidate; see :meth:`bot.generation.CandidateGenerator.continued`.

        Raises:
            GeneratorUnavailable: The generator was closed, or llama.cpp refused the prompt.
        """

        def work(emit: Emit, stop: threading.Event) -> bool:
            return self._write(context, style, stop, begun=begun, emit=emit).cut_off

        async with self._turn:
            if self._closing.is_set():
                raise GeneratorUnavailable("the language model was closed; restart the bot")
            names = names_of(context, self._settings.persona)
            growing = texts_from_thread(self._threads, work, begun, markers=self._markers.ends, names=names)
            async with aclosing(growing) as texts:
                async for text in texts:
                    yield text

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on."""
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
        """Write one candidate, or the continuation of ``begun``. Runs on a generation thread.

        If llama.cpp finds the prompt longer than estimated, the context is cut in proportion and sent again.
        If the template has no system role or requires alternating roles, the system prompt is moved into the
        first user message.

        Raises:
            GeneratorUnavailable: llama.cpp refused the prompt.
        """
        system = system_text(context.persona_or(self._settings.persona), style)
        limit = style.tokens(self._settings.further_tokens if begun else self._settings.candidate_tokens)
        thoughts = 0 if begun else self._settings.thinking_tokens
        options = template_options(self._template, thoughts)
        opens = opens_thought(self._template, options)
        start = defuse(begun, self._markers.broken) or (NO_THOUGHT if opens and not thoughts else "")
        request = {
            "temperature": style.temperature,
            "max_tokens": limit + thoughts,
            "chat_template_kwargs": options,
            "thinking_budget_tokens": thoughts,
            "stream": True,
            "return_progress": True,  # calls back while the prompt is read, too
        }
        budget, folded = self._settings.context_tokens, False
        while True:
            fitted = fit(context, system, budget, estimate, estimated_cut)
            messages = messages_of(system, fitted, self._markers.broken)
            if folded:
                messages = without_system(messages)
            if start:  # llama.cpp continues an assistant message at the end
                messages.append({"role": "assistant", "content": start})
            answer = _Answer(lambda: cancelled.is_set() or self._closing.is_set(), emit)
            self._server.handle_chat_completions(_SAMPLING | request | {"messages": messages}, answer.take)
            if answer.error is None:
                return Written(
                    "".join(answer.pieces),
                    style.name,
                    cut_off=answer.finish == "length" or cancelled.is_set(),
                    thought=answer.thought,
                    opened=opens and thoughts > 0 and not answer.thought,
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
    """Wait until the worker thread of llama.cpp accepts tasks, by generating one token.

    The constructor returns before its worker thread listens for shutdown. Destroying the object in that
    window deadlocks while holding the GIL.
    """
    server.handle_completions({"prompt": "a", "n_predict": 1})


class _Answer:
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


def _shorter(error: dict[str, Any], budget: int) -> int | None:
    """Return a budget under which a too long prompt fits; None if the error is another one."""
    if error.get("type") != "exceed_context_size_error":
        return None
    return int(budget * error["n_ctx"] / (error["n_prompt_tokens"] + _TEMPLATE_TOKENS) * 0.9)
