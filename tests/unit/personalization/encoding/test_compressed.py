"""The compressed encoder: close to its base, another id, refused where it cannot run or is damaged."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from personalization.encoding import compressed
from personalization.encoding.compressed import (
    CONFIG,
    NOTE,
    TOKENIZER,
    WEIGHTS,
    check_kernel,
    compress,
    is_compressed,
    load_compressed,
)
from personalization.encoding.encoder import LoadedModel, load_model
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.errors import DeviceMissing, EncoderDamaged, EncoderError
from tests.tiny_encoder import write_tiny_encoder

TEXTS = ["hot tea", "ice jam and red tea", "out all day now", "unknown words only", ""]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder", dim=32)


@pytest.fixture
def folder(base, tmp_path):
    compress(load_model(str(base)), tmp_path / "small")
    return tmp_path / "small"


def test_it_is_close_to_its_base_and_never_taken_for_it(base, folder):
    plain, small = (load_encoder(str(one), "cpu") for one in (base, folder))

    cosines = (plain.encode(TEXTS) * small.encode(TEXTS)).sum(axis=1)

    assert cosines.min() > 0.99
    assert small.encoder_id != plain.encoder_id
    assert FeatureMap(small).feature_id != FeatureMap(plain).feature_id
    assert (folder / WEIGHTS).stat().st_size < 0.75 * (base / "model.safetensors").stat().st_size


def test_an_embedding_depends_on_its_own_text_alone_bit_for_bit(folder):
    small = load_encoder(str(folder), "cpu")

    together = small.encode(TEXTS)

    np.testing.assert_array_equal(together, np.concatenate([small.encode([text]) for text in TEXTS]))
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_the_same_base_gives_the_same_id_and_other_weights_another(base, folder, tmp_path):
    compress(load_model(str(base)), tmp_path / "again")
    first, again = (load_compressed(one).encoder_id for one in (folder, tmp_path / "again"))
    other = load_model(str(base))
    with torch.no_grad():
        other.model.encoder.layer[0].intermediate.dense.weight.add_(0.1)
    compress(other, tmp_path / "other")

    assert first == again
    assert load_compressed(tmp_path / "other").encoder_id != first


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, TOKENIZER, NOTE])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x00" * 64])
def test_a_damaged_folder_is_one_sentence(folder, name, content):
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)

    with pytest.raises(EncoderDamaged, match=r"the compressed encoder: .*compress it again"):
        load_compressed(folder)


def test_a_device_other_than_the_cpu_is_refused(folder, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)

    with pytest.raises(DeviceMissing, match="runs on the CPU only"):
        load_encoder(str(folder), "cuda")
    assert load_encoder(str(folder), "auto").device.type == "cpu"


def _lacks(*_):
    raise NotImplementedError("no such kernel")


def _saturates(left, right):
    return (left.int() @ right.int()).clamp(-32768, 32767)


@pytest.mark.parametrize(("kernel", "said"), [(_lacks, "without it"), (_saturates, "found rounded ones")])
def test_a_torch_without_an_exact_integer_product_is_refused(
    base, folder, tmp_path, monkeypatch, kernel, said
):
    check_kernel()  # control: this build has it
    monkeypatch.setattr(compressed.torch, "_int_mm", kernel)

    for attempt in (lambda: load_compressed(folder), lambda: compress(load_model(str(base)), tmp_path / "x")):
        with pytest.raises(EncoderError, match=said):
            attempt()
    assert not is_compressed(tmp_path / "x")


def test_an_encoder_of_another_kind_is_refused_and_nothing_is_written(base, tmp_path):
    other = load_model(str(base))
    for layer in other.model.encoder.layer:
        layer.intermediate.intermediate_act_fn = torch.nn.Softplus()

    with pytest.raises(EncoderError, match="expected a BERT encoder of the usual kind"):
        compress(other, tmp_path / "small")
    with pytest.raises(EncoderError, match="expected a BERT encoder"):
        compress(LoadedModel("x", "x", "1", torch.nn.Linear(2, 2), other.tokenizer), tmp_path / "small")
    assert not (tmp_path / "small").exists()


def test_its_note_names_the_base(base, folder):
    assert json.loads((folder / NOTE).read_text())["base"] == str(base)
