"""Checks of the language model and its runtime, the device, the encoder and the toxicity model."""

from __future__ import annotations

import asyncio
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from bot.doctor import Finding, failed, ok, warning
from bot.generation import GeneratorError
from bot.generators.factory import runs_on_llamacpp
from bot.generators.model_files import SMOLLM2, check_packaged, prepare_generator_model, prepare_gguf
from bot.generators.openai_server import OpenAIGenerator
from bot.moderation.toxicity import ToxicityError, load_judge
from bot.settings import GeneratorSettings, SafetySettings
from personalization.devices import describe, resolve_device
from personalization.encoding.encoder import EncoderError
from personalization.encoding.loading import load_encoder
from personalization.errors import DeviceMissing
from personalization.settings import Device, LearningSettings

_GGUF_MAGIC = b"GGUF"


async def examine_model(settings: GeneratorSettings) -> Finding:
    """Check that the language model exists, or that its server answers."""
    try:
        if settings.kind == "openai":
            return await _on_server(settings)
        return await asyncio.to_thread(_on_this_machine, settings)
    except GeneratorError as exc:
        return failed("model", str(exc))


async def _on_server(settings: GeneratorSettings) -> Finding:
    generator = OpenAIGenerator(settings)
    try:
        offered = await generator.offered()
    finally:
        await generator.close()
    if not offered or settings.model in {*offered, *(name.partition(":")[0] for name in offered)}:
        return ok("model", f"{generator.name} answers")
    return warning(
        "model",
        f"{generator.name} answers, but the model is not among the {len(offered)} it lists; check"
        " [generator] model",
    )


def _on_this_machine(settings: GeneratorSettings) -> Finding:
    """Blocks while the packaged file is hashed."""
    if runs_on_llamacpp(settings):
        return _gguf(prepare_gguf(settings, progress=False))
    if settings.model == "packaged":
        check_packaged(SMOLLM2)
        return ok(
            "model", f"{SMOLLM2.file} is whole; transformers runs it after a conversion at the first start"
        )
    found = prepare_generator_model(settings, progress=False)
    if isinstance(found, Path):
        return ok("model", f"the folder {found}; transformers runs it")
    if isinstance(try_to_load_from_cache(found, "config.json"), str):
        return ok("model", f"{found} is in the cache of the Hugging Face hub; transformers runs it")
    return warning("model", f"{found} is not on this machine; the first start fetches it from the hub")


def _gguf(path: Path) -> Finding:
    try:
        with path.open("rb") as file:
            begins = file.read(len(_GGUF_MAGIC))
    except OSError as exc:
        return failed("model", f"{path} cannot be read ({exc.strerror}); correct its permissions")
    if begins != _GGUF_MAGIC:
        return failed("model", f"{path} is no GGUF file; download it again, or correct [generator] model")
    return ok("model", f"{path.name}; llama.cpp runs it on the CPU")


def examine_device(device: Device) -> Finding:
    """Check the device of the encoder and of the training rounds."""
    try:
        return ok("device", describe(resolve_device(device)))
    except DeviceMissing as exc:
        return failed("device", str(exc))


def examine_encoder(settings: LearningSettings) -> Finding:
    """Load the encoder and encode a word. Blocks for seconds."""
    try:
        encoder = load_encoder(settings.encoder, settings.device)
        (vector,) = encoder.encode(["hello"])
    except (EncoderError, DeviceMissing) as exc:
        return failed("encoder", str(exc))
    return ok("encoder", f"{encoder.encoder_id}, {len(vector)} dimensions")


def examine_toxicity(settings: SafetySettings) -> Finding:
    """Load the configured toxicity model. Blocks for seconds."""
    try:
        judge = load_judge(settings)
    except (ToxicityError, DeviceMissing) as exc:
        return failed("toxicity", str(exc))
    if judge is not None:
        judge.close()
    return ok("toxicity", f"{settings.toxicity_model} rates candidates before they are posted")
