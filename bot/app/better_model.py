"""Says in the playground which model writes, and how to get a better one."""

from __future__ import annotations

from dataclasses import replace

from bot.catalogue import LANGUAGE_MODELS
from bot.generation import name_of_model
from bot.generators.factory import runs_on_llamacpp
from bot.settings import GeneratorSettings


def who_writes(settings: GeneratorSettings) -> str:
    """Return one or two sentences for the welcome of the playground."""
    writer = f"Here writes {name_of_model(settings.model)}"
    if settings.kind != "local":
        return f"{writer}, on your model server."
    if settings.model != "packaged":
        return f"{writer}. simpatico models list names others."
    small = next(model for model in LANGUAGE_MODELS if model.size)
    source = small.source(on_llamacpp=runs_on_llamacpp(replace(settings, model=small.name)))
    return (
        f"{writer}, a tiny model, for trying out. For a better one, stop me and run: make run"
        f" MODEL={small.size} (downloads {source.gb:g} GB). simpatico models list names more."
    )
