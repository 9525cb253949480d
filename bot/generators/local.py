"""Generator that runs a transformers model in this process.

All styles are rows of one ``generate`` call, and what their prompts share is read once
(:mod:`bot.generators.prefixes.attention`), so that k candidates cost little more than one. Generation runs on
one dedicated thread, first in, first out, so the event loop never blocks. A cancelled request stops
between two tokens, or while the model reads the prompt.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    StoppingCriteriaList,
)
from transformers.utils import logging as transformers_logging

from bot.generation import Candidate, Context, GeneratorUnavailable, ModelMissing, Style, name_of_model
from bot.generators.cleaning import Written, candidates_of, names_of
from bot.generators.continuing import Emit, texts_from_thread
from bot.generators.hardware import device_for, device_in_words, dtype_for, leave_cores_free
from bot.generators.prefixes.attention import Rows, SharedReading, rows_of
from bot.generators.rendering import Renderer
from bot.generators.role_markers import defuse, markers_of
from bot.generators.sampling import (
    LeastSentences,
    ReadingInterrupted,
    RowLimits,
    RowTemperatures,
    StopWhenSet,
    ThoughtBudget,
    TokenStreamer,
    interruptible_reading,
    readable,
)
from bot.generators.thinking import opened_thought
from bot.memory import Leaving
from bot.messages.sentences import sentence_ends
from bot.settings import GeneratorSettings
from personalization.loading_errors import check_complete, loading

log = logging.getLogger(__name__)

_TOP_P = 0.9
_MIN_P = 0.1
_REPETITION_PENALTY = 1.05
"""Mild, and applied to the reply only: over the prompt it would penalise words of the question."""


class LocalGenerator:
    """A language model on this machine.

    Args:
        model: A causal language model, already on its device.
        tokenizer: Its tokenizer.
        settings: Persona, token budgets.
        label: Name of the model for people.
    """

    def __init__(self, model: Any, tokenizer: Any, settings: GeneratorSettings, label: str) -> None:
        self._model: Any = model.eval()
        self._tokenizer = tokenizer
        self._settings = settings
        self._device: torch.device = model.device
        self._name = f"{label} on {device_in_words(self._device)}, {str(model.dtype).removeprefix('torch.')}"
        self._markers = markers_of(tokenizer)
        self._renderer = Renderer(tokenizer, self._markers)
        self._shared = SharedReading(model)
        self._budget = _context_budget(model, settings)
        self._closing = threading.Event()
        self._thread = ThreadPoolExecutor(1, "generation", initializer=leave_cores_free)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token

    @classmethod
    def load(
        cls, model: Path | str, settings: GeneratorSettings, *, progress: bool = False
    ) -> LocalGenerator:
        """Load a model folder or Hugging Face id. Blocks: call from a thread.

        Only safetensors are read and no code from the model's repository is run.

        Args:
            model: As :func:`bot.generators.model_files.prepare_generator_model` returned it.
            settings: Device, persona, token budgets.
            progress: Whether to show the loader's progress bars.

        Raises:
            ModelMissing: The model does not exist, cannot be fetched, or is of an unsupported kind.
            GeneratorUnavailable: The device does not exist or has too little memory.
        """
        device = device_for(settings.device)
        (
            transformers_logging.enable_progress_bar
            if progress
            else transformers_logging.disable_progress_bar
        )()
        local = isinstance(model, Path)
        with loading("the language model", model, ModelMissing, 'set [generator] model = "packaged"'):
            tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=local)
            weights: Any
            report: Any
            weights, report = cast(Any, AutoModelForCausalLM).from_pretrained(
                model,
                dtype=dtype_for(device),
                local_files_only=local,
                use_safetensors=True,
                output_loading_info=True,
            )
            check_complete(model, report)
            try:
                weights.to(device)
            except torch.OutOfMemoryError as exc:
                raise GeneratorUnavailable(f"{model} does not fit into the memory of {device}") from exc
        label = name_of_model(settings.model)
        return cls(weights, tokenizer, settings, label)

    @property
    def name(self) -> str:
        """Model, device and number format in words."""
        return self._name

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Generate one candidate per style; leave out blank and repeated ones.

        Raises:
            GeneratorUnavailable: The device ran out of memory, or the generator was closed.
            OnlyThoughts: The model thought and gave no answer.
            GeneratorError: All candidates were blank.
        """
        if self._closing.is_set():
            raise GeneratorUnavailable("the language model was closed; restart the bot")
        cancelled = threading.Event()
        job = self._thread.submit(self._write, context, tuple(styles), cancelled)
        try:
            candidates = await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        finally:
            self._shared.prefixes.used()
        if self._closing.is_set():
            raise GeneratorUnavailable("the language model was closed during generation")
        return candidates

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Continue a candidate; see :meth:`bot.generation.CandidateGenerator.continued`.

        Raises:
            GeneratorUnavailable: The device ran out of memory.
        """

        def work(emit: Emit, stop: threading.Event) -> bool:
            return self._go_on(context, style, begun, emit=emit, stop=stop)

        names = names_of(context, self._settings.persona)
        growing = texts_from_thread(self._thread, work, begun, markers=self._markers.ends, names=names)
        async with aclosing(growing) as texts:
            async for text in texts:
                yield text
        self._shared.prefixes.used()

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on."""
        self._settings = replace(self._settings, persona=persona)

    def forget(self, leaving: Leaving) -> None:
        """Drop all prompts that were read before: they do not say whose words are in them."""
        self._shared.prefixes.clear()

    async def close(self) -> None:
        """Stop a running generation at its next token, drop queued ones, free the model. Idempotent."""
        if not self._closing.is_set():
            self._closing.set()
            self._shared.prefixes.stop()
            await asyncio.wrap_future(self._thread.submit(self._release))
            self._thread.shutdown()  # does not block: the thread has just run its last job

    def _release(self) -> None:
        self._model = None
        self._shared.prefixes.clear()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _write(
        self, context: Context, styles: tuple[Style, ...], cancelled: threading.Event
    ) -> list[Candidate]:
        """Run one generation and clean its output. Runs on the generation thread only."""
        if cancelled.is_set() or self._closing.is_set() or not styles:
            return []
        thoughts = self._settings.thinking_tokens
        prompts = self._prompts(context, styles, thoughts)
        ends = [opened_thought(prompt) for prompt in prompts]
        inputs = self._encode(prompts)  # (k, n)
        n_prompt = inputs.n
        limits = [style.tokens(self._settings.candidate_tokens) for style in styles]
        budget = ThoughtBudget(n_prompt, ends, limits, thoughts, self._tokenizer) if thoughts else None
        rows = self._generate(inputs, styles, limits, cancelled, budget=budget)
        if cancelled.is_set() or self._closing.is_set():
            return []
        written = [
            self._read(row[n_prompt:] if thoughts else row[n_prompt:][:limit], style, opened=end is not None)
            for row, style, end, limit in zip(rows, styles, ends, limits, strict=True)
        ]
        names = names_of(context, self._settings.persona)
        return candidates_of(written, drafts=self._settings.drafts, markers=self._markers.ends, names=names)

    def _go_on(
        self, context: Context, style: Style, begun: str, *, emit: Emit, stop: threading.Event
    ) -> bool:
        """Continue a candidate; return whether the token limit cut it off. Generation thread only."""
        if stop.is_set() or self._closing.is_set():
            return True
        (prompt,) = self._prompts(context, (style,))
        inputs = self._encode([prompt + defuse(begun, self._markers.broken)])  # (1, n)
        last = inputs.input_ids[0, -1:]
        skipped = len(self._tokenizer.decode(last, skip_special_tokens=True))

        def decoded(row: torch.Tensor) -> str:
            # Decoded together with the token before, because some tokenizers drop a space at the start.
            return self._tokenizer.decode(torch.cat([last, row]), skip_special_tokens=True)[skipped:]

        n_prompt, limit = inputs.n, style.tokens(self._settings.further_tokens)
        streamer = TokenStreamer(lambda row: emit(decoded(row.to(self._device))))
        (row,) = self._generate(inputs, (style,), [limit], stop, streamer=streamer, begun=begun)
        emit(decoded(row[n_prompt:]))
        return self._read(row[n_prompt:], style).cut_off

    def _generate(
        self,
        inputs: Rows,
        styles: tuple[Style, ...],
        limits: Sequence[int],
        stop: threading.Event,
        *,
        streamer: TokenStreamer | None = None,
        budget: ThoughtBudget | None = None,
        begun: str = "",
    ) -> torch.Tensor:
        """Generate at most ``limits`` (k) tokens after each prompt, and thoughts before within ``budget``.

        Without thoughts, ``begun`` and the new tokens together have the fewest sentences of each style.

        Returns:
            Prompts and new tokens, (k, n + m) int64.

        Raises:
            GeneratorUnavailable: The device ran out of memory.
        """
        n_begun = len(sentence_ends(begun))
        least = [0 if budget else style.shape.least_sentences - n_begun for style in styles]
        try:
            with torch.inference_mode(), interruptible_reading(self._model, stop, self._closing):
                return self._model.generate(
                    **inputs.inputs(),
                    **self._shared.read(self._model, inputs),
                    streamer=streamer,
                    do_sample=True,
                    top_p=_TOP_P,
                    min_p=_MIN_P,
                    top_k=0,
                    temperature=1.0,  # RowTemperatures sets one for each row
                    min_new_tokens=1,
                    max_new_tokens=max(limits) + (budget.most if budget else 0),
                    pad_token_id=self._tokenizer.pad_token_id,
                    logits_processor=LogitsProcessorList(
                        [
                            RepetitionPenaltyLogitsProcessor(_REPETITION_PENALTY, inputs.n),
                            RowTemperatures([style.temperature for style in styles], self._device),
                            LeastSentences(inputs.n, least, self._ends(), self._decoded),
                            *([budget.processor] if budget else []),
                        ]
                    ),
                    stopping_criteria=StoppingCriteriaList(
                        [
                            StopWhenSet(stop, self._closing),
                            budget or RowLimits(inputs.n, limits, self._device),
                        ]
                    ),
                )
        except ReadingInterrupted:
            return inputs.input_ids
        except torch.OutOfMemoryError as exc:
            raise GeneratorUnavailable(
                f"{self._device} ran out of memory; lower [generator] context_tokens or candidates"
            ) from exc

    def _prompts(self, context: Context, styles: tuple[Style, ...], thoughts: int = 0) -> list[str]:
        persona = context.persona_or(self._settings.persona)
        notes = [style.instruction for style in styles]
        return self._renderer.prompts(context, persona, notes, budget=self._budget, thoughts=thoughts)

    def _encode(self, prompts: list[str]) -> Rows:
        return rows_of(self._renderer.encoded(prompts), self._tokenizer.pad_token_id, self._device)

    def _read(self, row: torch.Tensor, style: Style, *, opened: bool = False) -> Written:
        """Decode the new tokens (n,) int64 of one row. Without an end token it counts as cut off."""
        cut_off = len(row) > 0 and int(row[-1]) not in self._ends()
        return Written(readable(self._tokenizer, row), style.name, cut_off, opened=opened)

    def _decoded(self, row: torch.Tensor) -> str:
        return self._tokenizer.decode(row, skip_special_tokens=True)

    def _ends(self) -> set[int]:
        """Return the tokens that end a reply."""
        ends = self._model.generation_config.eos_token_id
        known = {*(ends if isinstance(ends, list) else [ends]), self._tokenizer.eos_token_id}
        return {token for token in (*known, self._tokenizer.pad_token_id) if token is not None}


def _context_budget(model: Any, settings: GeneratorSettings) -> int:
    """Return the token budget of a prompt, so that prompt and reply fit the context of the model."""
    built_for = getattr(model.config, "max_position_embeddings", None)
    if built_for is None:
        return settings.context_tokens
    return max(
        1, min(settings.context_tokens, built_for - settings.max_new_tokens - settings.thinking_tokens)
    )
