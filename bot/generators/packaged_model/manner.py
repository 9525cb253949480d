"""The manner in which the packaged model, SmolLM2-135M-Instruct, is asked; no other model is asked so.

A model of this size writes better with the system prompt of its training than under a name of its own, and
it copies from earlier replies. ``make bench-replies`` measures the difference. A persona that the host or a
server has set holds as it is. Lower temperatures, one sentence of each earlier reply and examples in the
prompt were tried and made it no better (docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Final

from bot.generation import Candidate, CandidateGenerator, Context, Style, Turn
from bot.memory import Leaving
from bot.messages.sentences import sentence_ends
from bot.settings import GeneratorSettings

PERSONA: Final = "You are a helpful AI assistant named SmolLM, trained by Hugging Face."
"""The system prompt of the training; in place of the default persona only."""
CONTEXT_TOKENS: Final = 608
"""Most tokens of a prompt. With a reply of 96 tokens and the markup it fills a slot of 768.

llama.cpp reserves slots in steps of 256, 6 MB each.
"""
_LONGEST_ECHO: Final = 300
"""Characters of an earlier reply that are shown, in whole sentences.

One sentence alone is worse than the whole reply: the model copied it in a quarter of its next replies.
"""

_DEFAULT_PERSONA: Final = GeneratorSettings().persona


def persona_of(settings: GeneratorSettings) -> str:
    """Return the persona of prompts; the packaged model has its own in place of the default."""
    is_own = settings.model == "packaged" and settings.persona == _DEFAULT_PERSONA
    return PERSONA if is_own else settings.persona


def settings_of(settings: GeneratorSettings) -> GeneratorSettings:
    """Return the settings that the packaged model is loaded with."""
    tokens = min(settings.context_tokens, CONTEXT_TOKENS)
    return replace(settings, persona=persona_of(settings), context_tokens=tokens)


class PackagedManner:
    """The generator of the packaged model, asked in the manner of this model.

    Args:
        generator: Runs the model; loaded with :func:`settings_of`.
    """

    def __init__(self, generator: CandidateGenerator) -> None:
        self._generator = generator

    @property
    def name(self) -> str:
        """Model, device and runtime in words."""
        return self._generator.name

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Generate one candidate per style; see :meth:`bot.generation.CandidateGenerator.generate`.

        Raises:
            GeneratorError: No candidate could be generated.
        """
        return await self._generator.generate(_asked(context), styles)

    def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Continue a candidate; see :meth:`bot.generation.CandidateGenerator.continued`.

        Raises:
            GeneratorError: The reply could not be completed.
        """
        return self._generator.continued(_asked(context), style, begun)

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on; the default one means that of the training."""
        self._generator.use_persona(PERSONA if persona == _DEFAULT_PERSONA else persona)

    def forget(self, leaving: Leaving) -> None:
        """Drop what is kept of prompts."""
        self._generator.forget(leaving)

    async def close(self) -> None:
        """Release the model."""
        await self._generator.close()


def _asked(context: Context) -> Context:
    """Return the context with the beginning of each long earlier reply alone."""
    return replace(context, turns=tuple(map(_shortened, context.turns)))


def _shortened(turn: Turn) -> Turn:
    if turn.role == "user" or len(turn.text) <= _LONGEST_ECHO:
        return turn
    ends = [end for end in sentence_ends(turn.text) if end <= _LONGEST_ECHO]
    return replace(turn, text=turn.text[: ends[-1] if ends else _LONGEST_ECHO].rstrip())
