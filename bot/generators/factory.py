"""Opens the generator that the configuration names. The only module that knows all of them."""

from __future__ import annotations

from pathlib import Path

from bot.generation import CandidateGenerator
from bot.generators.model_files import prepare_generator_model, prepare_gguf
from bot.settings import GeneratorSettings


def create_generator(settings: GeneratorSettings, *, progress: bool = False) -> CandidateGenerator:
    """Open the configured generator. Blocks while a local model is prepared and loaded: call from a thread.

    Args:
        settings: Section ``[generator]``.
        progress: Whether to show progress bars on standard error.

    Raises:
        ModelMissing: The model or its files are not where the configuration says.
        GeneratorUnavailable: The device is not there or has too little memory.
    """
    # Imported here so that a bot which asks a server never loads the machinery of a local model.
    if settings.kind == "openai":
        from bot.generators.openai_server import OpenAIGenerator

        return OpenAIGenerator(settings)
    model = prepare_local_model(settings, progress=progress)
    if runs_on_llamacpp(settings):
        from bot.generators.llamacpp import LlamaCppGenerator
        from personalization.devices import half_of_cores

        return LlamaCppGenerator.load(Path(model), settings, n_threads=half_of_cores())
    from bot.generators.local import LocalGenerator

    return LocalGenerator.load(model, settings, progress=progress)


def prepare_local_model(settings: GeneratorSettings, *, progress: bool = False) -> Path | str:
    """Make the configured local model ready for the runtime that will load it. Blocks.

    Returns:
        A GGUF file for llama.cpp, else a folder or Hugging Face id.

    Raises:
        ModelMissing: The model or its files are not where the configuration says.
        GeneratorUnavailable: The device is not there.
    """
    return (prepare_gguf if runs_on_llamacpp(settings) else prepare_generator_model)(settings, progress)


def runs_on_llamacpp(settings: GeneratorSettings) -> bool:
    """Whether llama.cpp runs the local model: as configured, by default GGUF models on a CPU.

    Raises:
        GeneratorUnavailable: The device is not there.
    """
    if settings.runtime != "auto":
        return settings.runtime == "llamacpp"
    if settings.model != "packaged" and not settings.model.endswith(".gguf"):
        return False
    from bot.generators.local import device_for

    return device_for(settings.device).type == "cpu"
