"""The manner in which the packaged model, SmolLM2-135M-Instruct, is asked; no other model is asked so.

Under the name "Simpatico", a model of this size answers some greetings in Spanish; with the system prompt of
its training it does not. A persona that the host or a server has set holds as it is. Lower temperatures and
examples in the prompt were tried and made it no better (docs/benchmarks.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bot.settings import GeneratorSettings

PERSONA: Final = "You are a helpful AI assistant named SmolLM, trained by Hugging Face."
"""The system prompt of the training; in place of the default persona only."""
CONTEXT_TOKENS: Final = 608
"""Most tokens of a prompt. With a reply of 96 tokens and the markup it fills a slot of 768.

llama.cpp reserves slots in steps of 256, 6 MB each.
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
