"""The packaged model is asked in its own manner, and what host or server have set holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.app.composition import secrets_of
from bot.generators.packaged_model.manner import CONTEXT_TOKENS, PERSONA, persona_of, settings_of
from bot.settings import GeneratorSettings

DEFAULT = GeneratorSettings()


@pytest.mark.parametrize(
    ("settings", "persona"),
    [
        (DEFAULT, PERSONA),
        (replace(DEFAULT, persona="You are a pirate."), "You are a pirate."),
        (replace(DEFAULT, persona=""), ""),
        (replace(DEFAULT, model="other.gguf"), DEFAULT.persona),
        (replace(DEFAULT, kind="openai", model="other"), DEFAULT.persona),
    ],
    ids=["default", "host", "host-none", "other-file", "server"],
)
def test_only_the_default_persona_of_the_packaged_model_is_replaced(settings, persona) -> None:
    assert persona_of(settings) == persona
    assert secrets_of(settings)[0] == persona


@pytest.mark.parametrize(("set_to", "used"), [(1024, CONTEXT_TOKENS), (200, 200), (10**6, CONTEXT_TOKENS)])
def test_prompts_fit_a_slot_and_a_lower_limit_holds(set_to, used) -> None:
    settings = settings_of(replace(DEFAULT, context_tokens=set_to))

    assert (settings.context_tokens, settings.model) == (used, "packaged")
