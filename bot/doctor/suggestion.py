"""Suggests the largest language model of the catalogue that this machine can run at a bearable speed.

Memory is read from the system. Speed on a CPU is estimated from a short measurement, see
:func:`bot.generators.hardware.weights_per_s`; a GPU is limited by its memory alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bot.catalogue import LANGUAGE_MODELS, LanguageModel, language_model
from bot.doctor import Finding, ok
from bot.generation import GeneratorError
from bot.settings import GeneratorSettings
from storage.wording import counted

REPLY_TOKENS = 40
"""Length of a candidate for the estimate, tokens."""
LONGEST_S = 30.0
"""Most seconds that the candidates of one reply may take."""
FOR_THE_BOT_GB = 1.0
"""Memory that the rest of the bot and the system need, GB."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine has for a language model.

    Attributes:
        memory_gb: Memory, GB: of the GPU, else of the machine.
        on_llamacpp: Whether llama.cpp runs the model, else transformers.
        weights_per_s: Weights that the CPU multiplies in a second; None: a GPU, which is fast enough.
    """

    memory_gb: float
    on_llamacpp: bool
    weights_per_s: float | None

    def reply_s(self, model: LanguageModel, candidates: int) -> float:
        """Return the estimated time for the candidates of one reply, seconds; 0 on a GPU."""
        if self.weights_per_s is None:
            return 0.0
        return candidates * REPLY_TOKENS * model.billions * 1e9 / self.weights_per_s

    def largest(self, candidates: int) -> LanguageModel | None:
        """Return the largest model that fits into the memory and is fast enough; None: there is none."""
        fitting = (
            model
            for model in reversed(LANGUAGE_MODELS)
            if model.source(on_llamacpp=self.on_llamacpp).memory_gb + FOR_THE_BOT_GB <= self.memory_gb
            and self.reply_s(model, candidates) <= LONGEST_S
        )
        return next(fitting, None)


def this_machine(settings: GeneratorSettings) -> Machine:
    """Look at this machine, and measure its speed. Blocks for less than a second.

    Raises:
        GeneratorUnavailable: The configured device does not exist.
    """
    from bot.generators.factory import runs_on_llamacpp
    from bot.generators.hardware import device_for, memory_gb, weights_per_s

    device = device_for(settings.device)
    speed = weights_per_s() if device.type == "cpu" else None
    any_listed = replace(settings, model=LANGUAGE_MODELS[0].name)
    return Machine(memory_gb(device), runs_on_llamacpp(any_listed), speed)


def examine_choice(settings: GeneratorSettings) -> Finding | None:
    """Name the largest model that this machine can run; None with a model server or another own model."""
    chosen = language_model(settings.model)
    if settings.kind != "local" or (chosen is None and settings.model != "packaged"):
        return None
    try:
        machine = this_machine(settings)
    except GeneratorError:  # the check of the model says why
        return None
    return ok("better model", suggested(machine, settings.candidates, chosen))


def suggested(machine: Machine, candidates: int, chosen: LanguageModel | None = None) -> str:
    """Return the suggestion in words.

    Args:
        machine: What the machine has.
        candidates: Candidates per reply.
        chosen: The model in use, if it is one of the catalogue.
    """
    model = machine.largest(candidates)
    if model is None:
        found = _in_words(machine, LANGUAGE_MODELS[0], candidates)
        return f"none of the catalogue fits this machine ({found})"
    found = _in_words(machine, model, candidates)
    if chosen is not None and chosen.billions >= model.billions:
        return f"{chosen.name} is in use; the largest that fits this machine is {model.name} ({found})"
    return (
        f"{model.name} is the largest of the catalogue that fits this machine ({found}):"
        f" make run MODEL={model.name}, or simpatico models get {model.name}"
    )


def _in_words(machine: Machine, model: LanguageModel, candidates: int) -> str:
    needs = model.source(on_llamacpp=machine.on_llamacpp).memory_gb + FOR_THE_BOT_GB
    memory = f"{model.name} and the bot need about {needs:.1f} of {machine.memory_gb:.1f} GB"
    if machine.weights_per_s is None:
        return memory
    seconds = machine.reply_s(model, candidates)
    return (
        f"{memory}, and {counted(candidates, 'candidate')} of {counted(REPLY_TOKENS, 'token')} take about"
        f" {seconds:.0f} s, estimated from {machine.weights_per_s / 1e9:.1f} billion weights a second,"
        " measured now"
    )
