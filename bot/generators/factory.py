"""Opens the configured generator. The only module that imports all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.catalogue import language_model
from bot.generation import CandidateGenerator
from bot.generators.hub.download import fetch, on_disk
from bot.generators.model_files import prepare_generator_model, prepare_gguf
from bot.generators.packaged_model.manner import settings_of
from bot.settings import GeneratorSettings
from personalization.loading_watch import watching
from personalization.plugins import plugin_in


@watching("the language model")
def create_generator(
    settings: GeneratorSettings, *, progress: bool = False, own_manner: bool = True
) -> CandidateGenerator:
    """Open the configured generator. Blocks while a local model is prepared and loaded: call from a thread.

    Args:
        settings: Section ``[generator]``.
        progress: Whether to show progress bars on standard error.
        own_manner: Whether the packaged model is asked in its own manner; else as any other model.

    Raises:
        ModelMissing: The configured model or its files were not found.
        GeneratorUnavailable: The device does not exist or has too little memory.
    """
    if settings.writers:
        return _writers(settings, progress, own_manner)
    # Imported here, so that a bot with a model server never loads torch and transformers.
    if plugin := plugin_in(settings.kind):
        from bot.plugins.generator import plugged_generator

        return plugged_generator(plugin, settings)
    if settings.kind == "openai":
        from bot.generators.openai_server import OpenAIGenerator

        return OpenAIGenerator(settings)
    if settings.model == "packaged" and own_manner:
        settings = settings_of(settings)
    return _local_generator(settings, progress)


def _writers(settings: GeneratorSettings, progress: bool, own_manner: bool) -> CandidateGenerator:
    """Open every writer. Blocks while local models are loaded."""
    # Imported here, so that the commands about models need no NumPy.
    from bot.generators.model_server.writers import OneWriter, SeveralWriters
    from personalization.ranking.dealing import Writer

    of = settings.of_writers()
    return SeveralWriters(
        [
            OneWriter(
                Writer(one.called, one.weight, one.styles),
                create_generator(of[one.called], progress=progress, own_manner=own_manner),
            )
            for one in settings.writers
        ],
        settings.timeout_s,
    )


def _local_generator(settings: GeneratorSettings, progress: bool) -> CandidateGenerator:
    """Load a local model into the runtime that fits it. Blocks."""
    model = prepare_local_model(settings, progress=progress)
    if runs_on_llamacpp(settings):
        from bot.generators.llamacpp import LlamaCppGenerator
        from personalization.devices import half_of_cores

        return LlamaCppGenerator.load(Path(model), settings, n_threads=half_of_cores())
    from bot.generators.local import LocalGenerator

    return LocalGenerator.load(model, settings, progress=progress)


def prepare_local_model(settings: GeneratorSettings, *, progress: bool = False) -> Path | str:
    """Prepare the configured local model for the runtime that will load it. Blocks.

    A model of the catalogue that is not on this machine is downloaded.

    Returns:
        A GGUF file for llama.cpp, else a folder or Hugging Face id.

    Raises:
        ModelMissing: The configured model or its files were not found.
        GeneratorUnavailable: The device does not exist.
    """
    on_llamacpp = runs_on_llamacpp(settings)
    if (listed := language_model(settings.model)) is not None:
        source = listed.source(on_llamacpp=on_llamacpp)
        found = on_disk(source, settings.model_dir) or fetch(source, settings.model_dir, progress=progress)
        settings = replace(settings, model=str(found))
    return (prepare_gguf if on_llamacpp else prepare_generator_model)(settings, progress)


def runs_on_llamacpp(settings: GeneratorSettings) -> bool:
    """Return whether llama.cpp runs the local model: as configured, by default for GGUF models on a CPU.

    Raises:
        GeneratorUnavailable: The device does not exist.
    """
    if settings.runtime != "auto":
        return settings.runtime == "llamacpp"
    is_gguf = settings.model.endswith(".gguf") or language_model(settings.model) is not None
    if settings.model != "packaged" and not is_gguf:
        return False
    from bot.generators.hardware import device_for

    return device_for(settings.device).type == "cpu"
