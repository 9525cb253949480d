"""The catalogue: a short list of better language models and multilingual encoders on the Hugging Face hub.

A name of it can be used wherever a model is named: ``[generator] model = "qwen2.5-1.5b"``, ``--model small``.
It holds what a host wants to know before a download. Sizes are those of the files on the hub, rounded.
Memory and speed are derived from them, see :class:`Source`; nothing here was measured. The hub's hash of each
file is verified and pinned at the first download (:mod:`bot.generators.hub`).

Data alone, without imports of the project, so that the command line can offer the names at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MODEL_VARIABLE = "SIMPATICO_MODEL"
"""Environment variable that overrides ``[generator] model``; ``--model`` sets it."""

_SPEEDS = ((0.6, "fast"), (1.3, "good"), (2.6, "moderate"))


@dataclass(frozen=True, slots=True)
class Source:
    """Files of one model in a repository of the hub.

    Attributes:
        repo: Repository of the hub, ``owner/name``.
        gb: Size of the files, GB, rounded.
        file: The GGUF file; empty: a model folder for transformers.
        gated: Whether its licence must be accepted on the hub, which needs ``HF_TOKEN``.
    """

    repo: str
    gb: float
    file: str = ""
    gated: bool = False

    @property
    def memory_gb(self) -> float:
        """Memory that it needs, GB, derived: the weights, a fifth of them, and 0.5 GB for prompts."""
        return round(1.2 * self.gb + 0.5, 1)

    @property
    def speed(self) -> str:
        """Speed class on a CPU, derived from the size: each token needs a pass over all weights."""
        return next((word for most, word in _SPEEDS if self.gb <= most), "slow")


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModel:
    """A chat model: a GGUF file for CPUs, and a folder for transformers on a GPU.

    Attributes:
        name: Name in the configuration and on the command line.
        title: Name as its makers write it.
        billions: Parameters, in billions.
        licence: Short name of the licence.
        languages: Languages, for people.
        gguf: For llama.cpp.
        folder: For transformers.
        size: Its alias: small, medium or large; empty: none.
    """

    name: str
    title: str
    billions: float
    licence: str
    languages: str
    gguf: Source
    folder: Source
    size: str = ""

    def source(self, *, on_llamacpp: bool) -> Source:
        """Return the files for a runtime."""
        return self.gguf if on_llamacpp else self.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder for texts in many languages; attributes as for :class:`LanguageModel`."""

    name: str
    title: str
    billions: float
    licence: str
    languages: str
    folder: Source


LANGUAGE_MODELS = (
    LanguageModel(
        name="qwen2.5-0.5b",
        title="Qwen2.5-0.5B-Instruct",
        billions=0.49,
        licence="Apache-2.0",
        languages="over 29 languages",
        gguf=Source("Qwen/Qwen2.5-0.5B-Instruct-GGUF", 0.5, "qwen2.5-0.5b-instruct-q4_k_m.gguf"),
        folder=Source("Qwen/Qwen2.5-0.5B-Instruct", 1.0),
    ),
    LanguageModel(
        name="qwen2.5-1.5b",
        title="Qwen2.5-1.5B-Instruct",
        billions=1.54,
        licence="Apache-2.0",
        languages="over 29 languages",
        gguf=Source("Qwen/Qwen2.5-1.5B-Instruct-GGUF", 1.1, "qwen2.5-1.5b-instruct-q4_k_m.gguf"),
        folder=Source("Qwen/Qwen2.5-1.5B-Instruct", 3.1),
        size="small",
    ),
    LanguageModel(
        name="smollm3-3b",
        title="SmolLM3-3B",
        billions=3.08,
        licence="Apache-2.0",
        languages="en, fr, es, de, it, pt",
        gguf=Source("ggml-org/SmolLM3-3B-GGUF", 1.9, "SmolLM3-Q4_K_M.gguf"),
        folder=Source("HuggingFaceTB/SmolLM3-3B", 6.2),
    ),
    LanguageModel(
        name="llama3.2-3b",
        title="Llama-3.2-3B-Instruct",
        billions=3.21,
        licence="Llama 3.2",
        languages="en, de, fr, it, pt, hi, es, th",
        gguf=Source("bartowski/Llama-3.2-3B-Instruct-GGUF", 2.0, "Llama-3.2-3B-Instruct-Q4_K_M.gguf"),
        folder=Source("meta-llama/Llama-3.2-3B-Instruct", 6.4, gated=True),
    ),
    LanguageModel(
        name="qwen3-4b",
        title="Qwen3-4B-Instruct-2507",
        billions=4.02,
        licence="Apache-2.0",
        languages="over 100 languages",
        gguf=Source("unsloth/Qwen3-4B-Instruct-2507-GGUF", 2.5, "Qwen3-4B-Instruct-2507-Q4_K_M.gguf"),
        folder=Source("Qwen/Qwen3-4B-Instruct-2507", 8.0),
        size="medium",
    ),
    LanguageModel(
        name="qwen2.5-7b",
        title="Qwen2.5-7B-Instruct",
        billions=7.62,
        licence="Apache-2.0",
        languages="over 29 languages",
        gguf=Source("bartowski/Qwen2.5-7B-Instruct-GGUF", 4.7, "Qwen2.5-7B-Instruct-Q4_K_M.gguf"),
        folder=Source("Qwen/Qwen2.5-7B-Instruct", 15.2),
    ),
    LanguageModel(
        name="llama3.1-8b",
        title="Llama-3.1-8B-Instruct",
        billions=8.03,
        licence="Llama 3.1",
        languages="en, de, fr, it, pt, hi, es, th",
        gguf=Source(
            "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", 4.9, "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf"
        ),
        folder=Source("meta-llama/Llama-3.1-8B-Instruct", 16.1, gated=True),
    ),
    LanguageModel(
        name="qwen3-8b",
        title="Qwen3-8B",
        billions=8.19,
        licence="Apache-2.0",
        languages="over 100 languages",
        gguf=Source("Qwen/Qwen3-8B-GGUF", 5.0, "Qwen3-8B-Q4_K_M.gguf"),
        folder=Source("Qwen/Qwen3-8B", 16.4),
        size="large",
    ),
)
"""Smallest first."""

ENCODERS = (
    Encoder(
        name="multilingual-minilm",
        title="paraphrase-multilingual-MiniLM-L12-v2",
        billions=0.12,
        licence="Apache-2.0",
        languages="over 50 languages",
        folder=Source("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 0.5),
    ),
    Encoder(
        name="multilingual-mpnet",
        title="paraphrase-multilingual-mpnet-base-v2",
        billions=0.28,
        licence="Apache-2.0",
        languages="over 50 languages",
        folder=Source("sentence-transformers/paraphrase-multilingual-mpnet-base-v2", 1.1),
    ),
)


def language_model(name: str) -> LanguageModel | None:
    """Return the language model of a name or of a size; None: the catalogue has none."""
    wanted = name.strip().casefold()
    return next((one for one in LANGUAGE_MODELS if wanted and wanted in (one.name, one.size)), None)


def encoder(name: str) -> Encoder | None:
    """Return the encoder of a name; None: the catalogue has none."""
    wanted = name.strip().casefold()
    return next((one for one in ENCODERS if one.name == wanted), None)


def find(name: str) -> LanguageModel | Encoder | None:
    """Return the language model or the encoder of a name; None: the catalogue has none."""
    return language_model(name) or encoder(name)


def names() -> Iterator[str]:
    """Yield every name that :func:`find` knows: the sizes first, then the models, then the encoders."""
    yield from (one.size for one in LANGUAGE_MODELS if one.size)
    yield from (one.name for one in (*LANGUAGE_MODELS, *ENCODERS))
