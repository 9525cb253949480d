"""Generator that runs a GGUF file with llama.cpp in this process; the fastest way on a CPU.

llama.cpp computes with quantised weights, whereas transformers unpacks them first. On two cores the packaged
model generates several times as fast and starts without a conversion (docs/benchmarks.md). The prompt of a
reply is read once; then all styles go on from there and are decoded in the same batches
(:mod:`bot.generators.prefixes`). Replies are generated one at a time, first in, first out, and the event loop
never blocks. A cancelled request stops at its next token, or while the model reads the prompt.

The library runs the model as a server inside this process. It also opens a port on the loopback interface,
which is locked with a random key.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import xllamacpp

from bot.generation import Candidate, Context, GeneratorUnavailable, ModelMissing, Style, name_of_model
from bot.generators.cleaning import Written, candidates_of, names_of
from bot.generators.continuing import Emit, texts_from_thread
from bot.generators.gguf_tokens import control_tokens
from bot.generators.llamacpp_answers import Answer, await_loop, shorter_budget
from bot.generators.prefixes.slots import SAVE_PATH, Slots
from bot.generators.prompt import estimate, estimated_cut, fit, messages_of, with_note, without_system
from bot.generators.role_markers import ModelMarkers, defuse, markers_in
from bot.generators.thinking import NO_THOUGHT, opens_thought, template_options
from bot.memory import Leaving
from bot.messages.sentences import sentence_ends
from bot.settings import GeneratorSettings
from personalization.loading_errors import loading

T = TypeVar("T")

_LIBRARY: Final[Any] = xllamacpp  # an extension module without types
_SAMPLING: Final = {"top_p": 0.9, "min_p": 0.1}
_NO_MARKERS: Final = ModelMarkers()
_READ_AT_ONCE: Final = 64
"""Tokens of a prompt between two looks at a cancellation; fewer make reading slower.

Measured with the packaged model on one busy core: 64 take 0.9 s at most, and the whole prompt takes a tenth
longer than in batches of 2,048.
"""
_SENTENCES: Final = "root ::= s{{{least}}} .*\ns ::= [^.!?。！？]+ [.!?。！？]+"
"""Grammar under which the model cannot end before so many sentences."""
_TEMPLATE_TOKENS = 64
"""Token allowance for the markup of the chat template."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A context in the form in which llama.cpp has read it.

    Attributes:
        context: Cut to what fits.
        folded: Whether the system prompt is a part of the first user message.
    """

    context: Context
    folded: bool = False


class LlamaCppGenerator:
    """A GGUF model on this machine.

    Args:
        server: llama.cpp with its model loaded.
        settings: Persona, token budgets.
        label: Name of the model for people.
        slots: Its slots; None: they share no prompts.
        markers: Role markers of the model that the table does not hold.
        template: Chat template of the model; empty: not known.
    """

    def __init__(
        self,
        server: Any,
        settings: GeneratorSettings,
        label: str,
        *,
        slots: Slots | None = None,
        markers: ModelMarkers = _NO_MARKERS,
        template: str = "",
    ) -> None:
        self._server: Any = server
        self._settings = settings
        self._markers = markers
        self._template = template
        self._name = f"{label} on CPU, llama.cpp"
        self._slots = slots or Slots("", "", settings.candidates)
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
        if settings.model == "packaged":  # a quarter of the slots' memory; not every model can do it
            params.cache_type_k = _LIBRARY.ggml_type.GGML_TYPE_Q8_0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = n_threads
        params.verbosity = -1  # otherwise it logs prompts
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.api_keys = [secrets.token_urlsafe(32)]
        params.ui = params.endpoint_props = params.endpoint_metrics = False
        params.endpoint_slots, params.slot_save_path = True, SAVE_PATH
        params.cache_ram_mib, params.cache_idle_slots = 0, False  # else it keeps up to 8 GiB of prompts
        # llama.cpp does not say why it refuses a file.
        otherwise = "choose a GGUF file whose architecture and quantisation llama.cpp knows"
        with loading("the language model", str(model), ModelMissing, otherwise):
            server = _LIBRARY.Server(params)
            tokens, template = control_tokens(model)
        await_loop(server)
        label, markers = name_of_model(settings.model), markers_in(tokens, template)
        slots = Slots(server.listening_address, params.api_keys[0], settings.candidates)
        return cls(server, settings, label, slots=slots, markers=markers, template=template)

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
        cancelled = threading.Event()
        async with self._reading():
            (asked,) = await self._run(cancelled, partial(self._read, context, styles, cancelled))
            written = await self._run(
                cancelled,
                *(
                    partial(self._write, asked, style, slot % self._slots.n, cancelled)
                    for slot, style in enumerate(styles)
                ),
            )
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
            asked = self._read(context, (style,), stop)
            return self._write(asked, style, 0, stop, begun=begun, emit=emit).cut_off

        async with self._reading():
            names = names_of(context, self._settings.persona)
            growing = texts_from_thread(self._threads, work, begun, markers=self._markers.ends, names=names)
            async with aclosing(growing) as texts:
                async for text in texts:
                    yield text

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on."""
        self._settings = replace(self._settings, persona=persona)

    def forget(self, leaving: Leaving) -> None:
        """Drop all prompts that were read before: they do not say whose words are in them."""
        self._slots.prefixes.clear()

    async def close(self) -> None:
        """Stop a running generation at its next token and free the model. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        async with self._turn:
            await asyncio.to_thread(self._release)

    def _release(self) -> None:
        self._threads.shutdown()
        self._slots.close()
        self._server = None

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """Wait for the model, and empty its slots afterwards.

        Raises:
            GeneratorUnavailable: The generator was closed.
        """
        async with self._turn:
            if self._closing.is_set():
                raise GeneratorUnavailable("the language model was closed; restart the bot")
            try:
                yield
            finally:
                await asyncio.to_thread(self._slots.erase)
                self._slots.prefixes.used()

    async def _run(self, cancelled: threading.Event, *calls: Callable[[], T]) -> list[T]:
        """Run calls on the generation threads. If one fails or the task is cancelled, wait for the others."""
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(self._threads, call) for call in calls]
        try:
            return await asyncio.gather(*jobs)
        except BaseException:
            cancelled.set()
            await asyncio.wait(jobs)  # each stops at its next token; then the model is free
            raise

    def _read(self, context: Context, styles: Sequence[Style], cancelled: threading.Event) -> _Asked:
        """Read the longest prompt of these styles, and let the slots of all go on from it.

        If llama.cpp finds the prompt longer than estimated, the context is cut in proportion and sent again.
        If the template has no system role or requires alternating roles, the system prompt is moved into the
        first user message. Runs on a generation thread.

        Raises:
            GeneratorUnavailable: llama.cpp refused the prompt.
        """
        if not styles:
            return _Asked(context)
        persona = context.persona_or(self._settings.persona)
        longest = max((style.instruction for style in styles), key=len)
        since, folded, budget = self._slots.prefixes.epoch, False, self._settings.context_tokens
        request = {"max_tokens": 1, "id_slot": 0} | self._options(self._settings.thinking_tokens)
        while True:
            asked = _Asked(
                fit(context, persona, budget, lambda m: estimate(with_note(m, longest)), estimated_cut),
                folded,
            )
            messages = self._messages(asked, longest)
            prompt = "\0".join(f"{message['role']}\n{message['content']}" for message in messages)
            self._slots.recall(prompt)
            answer = self._ask(request | {"messages": messages}, cancelled)
            if answer.error is None:
                self._slots.branch(prompt, len(styles), since=since)
                return asked
            shorter = shorter_budget(answer.error, budget, _TEMPLATE_TOKENS)
            if shorter is not None and shorter < budget:
                budget = shorter
            elif shorter is None and not folded:
                folded = True
            else:
                raise _refused()

    def _write(
        self,
        asked: _Asked,
        style: Style,
        slot: int,
        cancelled: threading.Event,
        *,
        begun: str = "",
        emit: Emit = lambda _: None,
    ) -> Written:
        """Write one candidate, or the continuation of ``begun``. Runs on a generation thread.

        Raises:
            GeneratorUnavailable: llama.cpp refused the prompt.
        """
        limit = style.tokens(self._settings.further_tokens if begun else self._settings.candidate_tokens)
        thoughts = 0 if begun else self._settings.thinking_tokens
        opens = opens_thought(self._template, template_options(self._template, thoughts))
        start = defuse(begun, self._markers.broken) or (NO_THOUGHT if opens and not thoughts else "")
        messages = self._messages(asked, style.instruction)
        if start:  # llama.cpp continues an assistant message at the end
            messages.append({"role": "assistant", "content": start})
        request = {"temperature": style.temperature, "max_tokens": limit + thoughts, "id_slot": slot}
        request |= {"messages": messages} | self._options(thoughts)
        least = style.shape.least_sentences - len(sentence_ends(begun))
        if least > 0 and not thoughts:
            request["grammar"] = _SENTENCES.format(least=least)
        answer = self._ask(request, cancelled, emit)
        if answer.error is not None:
            raise _refused()
        return Written(
            "".join(answer.pieces),
            style.name,
            cut_off=answer.finish == "length" or cancelled.is_set(),
            thought=answer.thought,
            opened=opens and thoughts > 0 and not answer.thought,
        )

    def _messages(self, asked: _Asked, instruction: str) -> list[Any]:
        persona = asked.context.persona_or(self._settings.persona)
        messages = messages_of(persona, asked.context, self._markers.broken)
        return with_note(
            without_system(messages) if asked.folded else messages, instruction, self._markers.broken
        )

    def _options(self, thoughts: int) -> dict[str, Any]:
        """Return the parameters of a request with at most so many tokens of thoughts."""
        return {
            "chat_template_kwargs": template_options(self._template, thoughts),
            "thinking_budget_tokens": thoughts,
            "stream": True,
            "return_progress": True,  # calls back while the prompt is read, too
        }

    def _ask(
        self, request: dict[str, Any], cancelled: threading.Event, emit: Emit = lambda _: None
    ) -> Answer:
        answer = Answer(lambda: cancelled.is_set() or self._closing.is_set(), emit)
        self._server.handle_chat_completions(_SAMPLING | request, answer.take)
        return answer


def _refused() -> GeneratorUnavailable:
    return GeneratorUnavailable(
        "llama.cpp refused the prompt; shorten [generator] persona, or lower context_tokens"
    )
