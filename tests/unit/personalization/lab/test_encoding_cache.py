"""Cached encodings are found by text and encoder, and damaged files are not used."""

from __future__ import annotations

import numpy as np
import pytest

from personalization.lab.encoding_cache import TEXTS_PER_FILE, CachedEncoder
from tests.fakes import HashEncoder


def test_a_kept_text_is_not_encoded_again(tmp_path):
    first = HashEncoder()
    made = CachedEncoder(first, tmp_path)
    before = made.encode(["a", "b", "a"])
    made.flush()

    second = HashEncoder()
    kept = CachedEncoder(second, tmp_path)
    after = kept.encode(["b", "a", "new"])

    assert (first.n_texts, second.n_texts, kept.n_found) == (2, 1, 2)
    np.testing.assert_array_equal(after, HashEncoder().encode(["b", "a", "new"]))
    np.testing.assert_array_equal(before, HashEncoder().encode(["a", "b", "a"]))


def test_another_encoder_finds_nothing(tmp_path):
    made = CachedEncoder(HashEncoder(8), tmp_path)
    made.encode(["a"])
    made.flush()

    other = HashEncoder(16)
    CachedEncoder(other, tmp_path).encode(["a"])

    assert other.n_texts == 1


def test_no_text_is_written(tmp_path):
    made = CachedEncoder(HashEncoder(), tmp_path)
    made.encode(["a very telling sentence"])
    made.flush()

    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert written
    assert b"telling" not in written


def test_full_files_are_written_on_the_way(tmp_path):
    made = CachedEncoder(HashEncoder(4), tmp_path)

    made.encode([str(i) for i in range(TEXTS_PER_FILE)])

    assert len(list(tmp_path.rglob("*.npy"))) == 1


def test_half_a_file_is_told_and_encoded_anew(tmp_path, caplog):
    made = CachedEncoder(HashEncoder(), tmp_path)
    made.encode(["a", "b"])
    made.flush()
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(path.read_bytes()[:200])

    encoder = HashEncoder()
    after = CachedEncoder(encoder, tmp_path).encode(["a", "b"])

    assert encoder.n_texts == 2
    assert "are not used" in caplog.text
    np.testing.assert_array_equal(after, HashEncoder().encode(["a", "b"]))


@pytest.mark.parametrize("text", ["", "half an emoji \ud83d"])
def test_any_text_can_be_kept(tmp_path, text):
    class Blunt(HashEncoder):
        def _vector(self, text):
            return super()._vector(text.encode("utf-8", "replace").decode())

    made = CachedEncoder(Blunt(), tmp_path)

    assert made.encode([text]).shape == (1, 32)
    assert made.encode([]).shape == (0, 32)


def test_without_a_folder_texts_are_encoded_once_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = HashEncoder()
    made = CachedEncoder(encoder, None)

    made.encode(["a", "b"])
    made.flush()
    made.frozen.encode(["b", "a"])

    assert encoder.n_texts == 2
    assert not list(tmp_path.iterdir())
