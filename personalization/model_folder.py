"""Check of a folder with a model before transformers loads it; each fault names its file.

transformers reports a damaged file without its name, and takes some damaged folders for sound ones. So the
files that it is going to read are checked first: they exist, can be read, are not empty, are no Git LFS
pointers, and are JSON or complete safetensors, as their names say. Only the headers of weights are read.

Imports neither torch nor transformers. Used by :mod:`personalization.loading_errors`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "tekken.json",
)
"""Files that hold a vocabulary, for the tokenizers of transformers."""
WITHOUT_VOCABULARY = ("ByT5", "Canine", "Perceiver")
"""Beginnings of the names of tokenizers that read bytes or characters."""
OTHER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "generation_config.json",
)
UNSAFE_WEIGHTS = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack")

_LFS = b"version https://git-lfs"


class FileBroken(Exception):
    """A file of a model is missing, unreadable or damaged; the message names it and says what to do."""


def check_folder(folder: Path) -> None:
    """Check the files of a model that transformers would load from a folder. Blocks briefly.

    Raises:
        FileBroken: A file is missing, cannot be read, or is damaged.
    """
    names = _names_in(folder)
    if CONFIG not in names:
        if "adapter_config.json" in names:
            raise FileBroken(
                f"{folder} holds an adapter and no {CONFIG}: expected a whole model; merge the adapter"
                " into its"
                " base model and save that"
            )
        raise FileBroken(
            f"the model folder {folder} holds no {CONFIG}; expected a folder as transformers' save_pretrained"
            f" writes it: {CONFIG}, *.safetensors and the tokenizer"
        )
    if not _json_in(folder / CONFIG):
        raise FileBroken(f"{folder / CONFIG} is empty JSON: expected a model's configuration; copy it again")
    for name in (*VOCABULARIES, *OTHER_FILES):
        if name in names:
            _check_named(folder / name)
    _check_vocabulary(folder, names)
    _check_weights(folder, names)


def check_file(path: Path) -> bytes:
    """Check that a file can be read, is not empty and is no Git LFS pointer; return its first bytes.

    Raises:
        FileBroken: It is not such a file.
    """
    try:
        with path.open("rb") as file:
            begins = file.read(len(_LFS))
    except FileNotFoundError as exc:
        raise FileBroken(f"{path} is missing; copy or download it again") from exc
    except OSError as exc:
        raise FileBroken(
            f"{path} cannot be read ({exc.strerror}); correct its permissions, or copy it again"
        ) from exc
    if not begins:
        raise FileBroken(f"{path} is empty; copy or download it again")
    if begins == _LFS:
        raise FileBroken(
            f"{path} is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder,"
            " or download it"
            " again"
        )
    return begins


def _names_in(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError as exc:
        raise FileBroken(f"{folder} cannot be read ({exc.strerror}); correct its permissions") from exc


def _check_named(path: Path) -> None:
    _json_in(path) if path.suffix == ".json" else check_file(path)


def _json_in(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file.

    Raises:
        FileBroken: It is not JSON, or no JSON object.
    """
    check_file(path)
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as exc:
        raise FileBroken(
            f"{path} is damaged: expected JSON, found something else; copy or download it again"
        ) from exc
    if not isinstance(content, dict):
        raise FileBroken(f"{path} is damaged: expected a JSON object; copy or download it again")
    return cast("dict[str, Any]", content)


def _check_vocabulary(folder: Path, names: set[str]) -> None:
    """Check that there is a vocabulary: without one, transformers makes an empty tokenizer."""
    if names & set(VOCABULARIES) or any(name.endswith((".tiktoken", ".model", ".spm")) for name in names):
        return
    if "tokenizer_config.json" in names:
        kind = str(_json_in(folder / "tokenizer_config.json").get("tokenizer_class"))
        if kind.startswith(WITHOUT_VOCABULARY):
            return
    raise FileBroken(
        f"{folder} holds no tokenizer: expected tokenizer.json or another vocabulary beside"
        f" {CONFIG}; copy the"
        " whole folder again"
    )


def _check_weights(folder: Path, names: set[str]) -> None:
    if WEIGHTS in names:
        _check_safetensors(folder / WEIGHTS)
    elif INDEX in names:
        for shard in sorted(_shards_of(folder / INDEX)):
            _check_safetensors(folder / shard)
    else:
        found = sorted({path.name for kind in UNSAFE_WEIGHTS for path in folder.glob(kind)})
        if found:
            raise FileBroken(
                f"{folder / found[0]} may hold code and is never loaded: expected {WEIGHTS}; take a"
                " version of"
                " the model with safetensors, or convert it"
            )
        raise FileBroken(f"{folder} holds no {WEIGHTS}; copy the whole folder again")


def _shards_of(index: Path) -> Iterable[str]:
    shards = _json_in(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise FileBroken(f"{index} is damaged: expected a weight_map; copy or download it again")
    return {str(name) for name in cast("dict[str, Any]", shards).values()}


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    check_file(path)
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as exc:
        raise FileBroken(
            f"{path} is damaged or incomplete ({_first_line(exc)}); copy or download it again"
        ) from exc


def _first_line(exc: Exception) -> str:
    return " ".join(str(exc).split())
