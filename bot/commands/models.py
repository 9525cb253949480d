"""``simpatico models``: prepare the configured language model; list better ones; download one by its name."""

from __future__ import annotations

import argparse
from dataclasses import replace

from bot.catalogue import ENCODERS, LANGUAGE_MODELS, Encoder, LanguageModel, Source, find
from bot.config import Settings
from bot.generation import ModelMissing
from bot.generators.factory import prepare_local_model, runs_on_llamacpp
from bot.generators.hub.download import fetch, on_disk
from bot.settings import GeneratorSettings
from personalization.loading_watch import watching

_ROW = "{:22} {:38} {:11} {:>15} {:>15}  {:9} {}"
_NOTES = """\
GGUF: files for a CPU; folder: for a GPU; each as download / memory. * is on this machine.
Sizes are rounded. Memory is derived: 1.2 times the size, and 0.5 GB. Speed is a class for CPUs, derived from
the size of the GGUF file, because each token needs a pass over all weights. `simpatico doctor` measures this
machine, and names the largest model that fits.
gated: accept the licence on huggingface.co, and set HF_TOKEN, in the environment or in .env."""


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Prepare the configured model, list the catalogue, or download a model of it.

    Raises:
        GeneratorError: The model is missing or damaged, or cannot be downloaded.
    """
    if arguments.action == "list":
        print("\n".join(listing(settings.generator)))
    elif arguments.action == "get":
        _get(arguments.name, settings.generator)
    else:
        with watching("the language model"):
            prepare_local_model(settings.generator, progress=True)


def listing(settings: GeneratorSettings) -> list[str]:
    """Return the lines of ``simpatico models list``.

    Raises:
        ModelMissing: The file with the pins is damaged.
    """

    def files(source: Source | None) -> str:
        if source is None:
            return "-"
        here = "*" if on_disk(source, settings.model_dir) else ""
        return f"{here}{source.gb:g} / {source.memory_gb:g} GB"

    def row(one: LanguageModel | Encoder, gguf: Source | None, speed: str, alias: str = "") -> str:
        gated = " (folder gated)" if one.folder.gated else ""
        name = f"{one.name} ({alias})" if alias else one.name
        return _ROW.format(
            name, one.title, one.licence, files(gguf), files(one.folder), speed, one.languages + gated
        )

    heads = ("licence", "GGUF", "folder", "speed", "languages")
    return [
        _ROW.format("language models", "", *heads),
        *(row(one, one.gguf, one.gguf.speed, one.size) for one in LANGUAGE_MODELS),
        "",
        _ROW.format("encoders", "", *heads),
        *(row(one, None, "-") for one in ENCODERS),
        "",
        _NOTES,
    ]


def _get(name: str, settings: GeneratorSettings) -> None:
    """Download a model, or verify the one that is here, and print how to use it.

    Raises:
        GeneratorError: It cannot be downloaded.
    """
    found = find(name)
    assert found is not None  # the command line takes only these names
    source = _source_of(found, settings)
    try:
        with watching(f"the model {found.name}"):
            place = fetch(source, settings.model_dir, progress=True)
    except KeyboardInterrupt:
        raise ModelMissing(
            f"stopped; what has arrived of {found.name} is kept: start it again, and it goes on from there"
        ) from None
    print(f"{found.title} is here, whole and verified: {place}\n{_use(found, settings)}")


def _source_of(found: LanguageModel | Encoder, settings: GeneratorSettings) -> Source:
    """Return the files for the runtime that would load the model."""
    if isinstance(found, Encoder):
        return found.folder
    return found.source(on_llamacpp=runs_on_llamacpp(replace(settings, model=found.name)))


def _use(found: LanguageModel | Encoder, settings: GeneratorSettings) -> str:
    """Return the lines that put a model into use."""
    if isinstance(found, Encoder):
        lines = ["[personalization]", f'encoder = "{found.name}"']
        return "\n".join(["To use it, write into config.toml:", "", *lines])
    lines = ["[generator]", f'model = "{found.name}"']
    if settings.kind != "local":
        lines.insert(1, 'kind = "local"')
    return "\n".join(
        [
            f"To use it once: simpatico run --model {found.name} (or make run MODEL={found.name})",
            "To keep it, write into config.toml:",
            "",
            *lines,
        ]
    )
