"""Checks of the language model and its runtime, the device, the encoder and the toxicity model.

Each check does what a start does, by the same functions: it loads the model, and the language model writes
one reply. A model of the Hugging Face hub that is not on this machine is not fetched: the hub is only asked
for it. torch and transformers are imported where they are used, so that a broken one is a finding.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bot.catalogue import language_model
from bot.doctor import Finding, Verdict, failed, ok, warning
from bot.doctor.stored_data import unwritable
from bot.generation import CandidateGenerator, Context, GeneratorError, ModelMissing, Turn
from bot.moderation import ToxicityError
from bot.settings import GeneratorSettings, SafetySettings
from personalization.errors import PersonalizationError
from personalization.loading_errors import explained, loading
from personalization.model_folder import FileBroken, check_folder
from personalization.plugins import plugin_in
from personalization.settings import Device, LearningSettings
from storage.wording import counted

if TYPE_CHECKING:
    from bot.generators.openai_server import OpenAIGenerator

REPLY_S = 120.0
"""Seconds within which the language model must write one reply."""
_HUB_S = 20.0
_QUESTION = Context("Say hello.")
_SHORTEST_TURN = 8
"""Tokens that a turn of the filled context takes at least."""
_RETRY = 'correct the name, or use "packaged"'

Tell = Callable[[str], None]
"""Receives what takes long, before it begins."""


def examine_libraries() -> Finding:
    """Import torch, transformers and numpy, without which nothing learns or ranks."""
    names = ("numpy", "torch", "transformers")
    return ok("libraries", ", ".join(f"{name} {import_module(name).__version__}" for name in names))


async def examine_writers(settings: GeneratorSettings, tell: Tell = lambda _: None) -> list[Finding]:
    """Let each language model write one reply. A writer that fails is a warning while another one answers.

    Several writers are asked with as much context as they may get in use.
    """
    if not settings.writers:
        return [await examine_model(settings, tell)]
    findings: list[Finding] = []
    for name, of in settings.of_writers().items():
        tell(f"asking the writer {name}")
        turns = [Turn("user", "Hello there, how are you today?")] * (of.context_tokens // _SHORTEST_TURN)
        found = await examine_model(of, tell, replace(_QUESTION, turns=tuple(turns)))
        findings.append(replace(found, said=f"writer {name}: {found.said}"))
    if all(found.verdict is Verdict.FAILED for found in findings):
        return findings
    return [
        warning(found.what, f"{found.said}; the other writers write in its place")
        if found.verdict is Verdict.FAILED
        else found
        for found in findings
    ]


async def examine_model(
    settings: GeneratorSettings, tell: Tell = lambda _: None, question: Context = _QUESTION
) -> Finding:
    """Load the language model, or ask its server, and let it write one reply. Takes seconds to minutes."""
    try:
        if settings.kind == "openai":
            return await _on_server(settings, tell, question)
        if plugin_in(settings.kind):
            return await _on_this_machine(settings, tell, question)
        if (finding := await asyncio.to_thread(_not_here, settings)) is not None:
            return finding
        return await _on_this_machine(settings, tell, question)
    except (GeneratorError, PersonalizationError) as exc:
        return failed("model", str(exc))


async def _on_server(settings: GeneratorSettings, tell: Tell, question: Context) -> Finding:
    from bot.generators.openai_server import OpenAIGenerator

    generator = OpenAIGenerator(settings)
    try:
        listed = await _listed(generator)
        finding = await _one_reply(generator, settings, tell, question)
    finally:
        await generator.close()
    names = {*listed, *(name.partition(":")[0] for name in listed)}
    unlisted = [name for name in (settings.model, *settings.models) if names and name not in names]
    if not unlisted:
        return finding
    said = f"{finding.said}; the server lists {counted(len(listed), 'model')}, but not {', '.join(unlisted)}"
    return replace(
        finding,
        verdict=Verdict.WARNING if finding.verdict is Verdict.OK else finding.verdict,
        said=f"{said}: check [generator] model and models",
    )


async def _listed(generator: OpenAIGenerator) -> list[str]:
    """Return the models that the server lists; empty if it lists none. Only its reply decides."""
    try:
        return await generator.offered()
    except GeneratorError:
        return []


def _not_here(settings: GeneratorSettings) -> Finding | None:
    """Return a finding if the model is not loaded, because that would fetch or convert it. Blocks."""
    from bot.generators.factory import runs_on_llamacpp
    from bot.generators.hub.download import on_disk
    from bot.generators.model_files import SMOLLM2, check_packaged, is_converted, prepare_generator_model

    on_llamacpp = runs_on_llamacpp(settings)
    if (listed := language_model(settings.model)) is not None:
        source = listed.source(on_llamacpp=on_llamacpp)
        if on_disk(source, settings.model_dir) is not None:
            return None
        return warning(
            "model",
            f"{listed.title} ({source.gb:g} GB) is not on this machine; `simpatico models get {listed.name}`"
            " or the first start fetches it from the hub",
        )
    if on_llamacpp:
        return None
    if settings.model == "packaged":
        if is_converted(SMOLLM2, settings.model_dir):
            return None
        check_packaged(SMOLLM2)
        return ok(
            "model", f"{SMOLLM2.file} is whole; transformers runs it after a conversion at the first start"
        )
    found = prepare_generator_model(settings, progress=False)
    return None if isinstance(found, Path) else _on_the_hub("model", found, ModelMissing)


async def _on_this_machine(settings: GeneratorSettings, tell: Tell, question: Context) -> Finding:
    from bot.generators.factory import create_generator

    tell("loading the language model")
    generator = await asyncio.to_thread(create_generator, settings, progress=True)
    try:
        return await _one_reply(generator, settings, tell, question)
    finally:
        await generator.close()


async def _one_reply(
    generator: CandidateGenerator, settings: GeneratorSettings, tell: Tell, question: Context
) -> Finding:
    """Let the model write one reply, as a member would ask for it."""
    tell(f"waiting for one reply, up to {REPLY_S:g} s")
    started = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(REPLY_S):
            await generator.generate(question, settings.styles[:1])
    except TimeoutError:
        return warning(
            "model",
            f"{generator.name} wrote no reply within {REPLY_S:g} s; use a smaller model or a faster device",
        )
    except GeneratorError as exc:
        blank = type(exc) is GeneratorError  # once; a model that only thinks never answers
        return (warning if blank else failed)("model", f"{generator.name} was asked for a reply: {exc}")
    except Exception as exc:  # boundary: a model with wrong weights fails while it writes, with any error
        return failed("model", explained(exc, settings.model))
    seconds = asyncio.get_running_loop().time() - started
    return ok("model", f"{generator.name} wrote a reply in {seconds:.1f} s")


def _on_the_hub(what: str, name: str, error: Callable[[str], Exception]) -> Finding | None:
    """Ask the hub for a model that is not on this machine; None if it is here, whole. Blocks."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

    with loading(f"the {what}", name, error, _RETRY):
        cached = try_to_load_from_cache(name, "config.json")
    if isinstance(cached, str):
        try:
            check_folder(Path(cached).parent)
        except FileBroken as exc:
            return failed(what, f"{exc}; or delete {Path(cached).parents[2]}, and the next start fetches it")
        return None
    with loading(f"the {what}", name, error, _RETRY):
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            from huggingface_hub.errors import OfflineModeIsEnabled

            raise OfflineModeIsEnabled
        get_hf_file_metadata(hf_hub_url(name, "config.json"), timeout=_HUB_S)
    return warning(what, f"{name} is not on this machine; the first start fetches it from the hub")


def examine_device(device: Device) -> Finding:
    """Check the device of the encoder and of the training rounds."""
    from personalization.devices import describe, resolve_device

    try:
        return ok("device", describe(resolve_device(device)))
    except PersonalizationError as exc:
        return failed("device", str(exc))


def examine_encoder(settings: LearningSettings) -> Finding:
    """Load the encoder and encode a word. Blocks for seconds."""
    from personalization.encoding.loading import load_encoder
    from personalization.errors import EncoderMissing

    name = settings.encoder
    try:
        if name != "packaged" and not plugin_in(name) and not Path(name).is_dir():
            if (finding := _on_the_hub("encoder", name, EncoderMissing)) is not None:
                return finding
        encoder = load_encoder(name, settings.device)
        (vector,) = encoder.encode(["hello"])
    except PersonalizationError as exc:
        return failed("encoder", str(exc))
    return ok("encoder", f"{encoder.encoder_id}, {counted(len(vector), 'dimension')}")


def examine_starter(settings: LearningSettings, folder: Path) -> Finding | None:
    """Check the starter prior of an encoder for which none ships; None for the packaged encoder. Blocks.

    Args:
        settings: The encoder.
        folder: Folder of kept starters.
    """
    from personalization.encoding.features import FeatureMap
    from personalization.encoding.loading import load_encoder
    from personalization.heads.kept_starter import KeptStarter

    if settings.encoder == "packaged":
        return None
    try:
        kept = KeptStarter(folder, FeatureMap(load_encoder(settings.encoder, settings.device)))
    except PersonalizationError:  # the check of the encoder says why
        return None
    try:
        path = kept.path()
    except PersonalizationError as exc:
        if not kept.is_being_fitted():
            return warning("starter", f"{exc}; {_without_starter(settings)}")
        path = None
    if path is not None:
        return ok("starter", f"fitted for this encoder: {path}")
    told = kept.told()
    if kept.is_being_fitted():
        return ok("starter", f"being fitted for this encoder in the background: {told or '0%'}")
    if told is not None:
        return warning("starter", f"none for this encoder; {_ended(told)}; {_without_starter(settings)}")
    if not settings.fit_starter:
        return warning("starter", f"none for this encoder; {_without_starter(settings)}")
    if (trouble := unwritable(folder)) is not None:
        return warning("starter", f"none for this encoder, and none can be kept: {trouble}")
    return ok("starter", "none for this encoder yet; the bot fits one in the background")


def _ended(told: str) -> str:
    """Say how the last fit ended whose starter is not there."""
    from personalization.heads.kept_starter import DONE, FAILED

    if told.startswith(FAILED):
        return f"the last fit {told}"
    if told == DONE:
        return "one was fitted, but its file is gone"
    return f"the last fit was cut off at {told or 'its start'}"


def _without_starter(settings: LearningSettings) -> str:
    if settings.fit_starter:
        return "a plain one answers, and the bot tries again: within an hour, a day after a fit that failed"
    return "a plain one answers; simpatico fit-starter fits one"


def examine_toxicity(settings: SafetySettings) -> Finding:
    """Load the configured toxicity model. Blocks for seconds."""
    from bot.moderation.toxicity import load_judge

    name = settings.toxicity_model
    try:
        if not Path(name).is_dir():
            if (finding := _on_the_hub("toxicity", name, ToxicityError)) is not None:
                return finding
        judge = load_judge(settings)
    except (ToxicityError, PersonalizationError) as exc:
        return failed("toxicity", str(exc))
    if judge is not None:
        judge.close()
    return ok("toxicity", f"{name} rates candidates before they are posted")
