"""The packaged encoder in plain torch gives what transformers gives, bit for bit, without importing it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from personalization.encoding import encoder as encoder_module
from personalization.encoding.encoder import MAX_TOKENS, load_model, load_packaged, mean_of_tokens
from personalization.encoding.minilm import MiniLM

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TEXTS = (
    *(
        "",
        " ",
        "Hello there!",
        "Ok 👍🏽!",
        "Grüß Gott, ça va?",
        "İstanbul ÅÉ",
        "ﬁ ﬂ e\u0301",
        "日本語のテキスト",
    ),
    *(
        "한국어 문장",
        "नमस्ते दुनिया",
        "مرحبا بالعالم",
        "[SEP] [MASK] [CLS]",
        "\x00",
        "\ud83d",
        "a\u200bb\u202ec",
    ),
    *("```py\nprint(1)\n```", "https://example.org/a?b=c#d", "word " * 300, "x" * 150, "1,000.5 % -- don't"),
)


@pytest.fixture(scope="module")
def pair():
    """The packaged model, in plain torch and by transformers."""
    return load_packaged(), load_model("packaged")


def embedded(loaded, texts):
    with torch.inference_mode():
        return mean_of_tokens(loaded.model, loaded.tokenizer, texts, CPU, MAX_TOKENS).numpy()


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_each_text_alone_has_the_same_bits(pair, text: str) -> None:
    plain, reference = pair

    assert embedded(plain, [text]).tobytes() == embedded(reference, [text]).tobytes()


def test_texts_padded_to_the_longest_have_the_same_bits(pair) -> None:
    plain, reference = pair

    assert embedded(plain, TEXTS).tobytes() == embedded(reference, TEXTS).tobytes()


def test_both_are_the_same_encoder(pair) -> None:
    plain, reference = pair

    assert plain.encoder_id == reference.encoder_id


def test_control_another_shape_gives_other_bits(pair) -> None:
    plain, reference = pair
    other = MiniLM(plain.model._weights, replace(plain.model.config, num_attention_heads=6))
    changed = replace(plain, model=other)

    assert embedded(changed, ["Hello there!"]).tobytes() != embedded(reference, ["Hello there!"]).tobytes()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_weights_are_read_from_the_file_as_they_are_used(pair) -> None:
    plain, _ = pair
    path = str((encoder_module._packaged_folder() / "model.safetensors").resolve())
    mapped = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        if line.endswith(path)
    ]

    addresses = [weight.data_ptr() for weight in plain.model._weights.values()]

    assert all(any(start <= address < end for start, end in mapped) for address in addresses)
