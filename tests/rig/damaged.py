"""Model folders of every kind, and every way in which such a folder is damaged.

Each damage is a function that changes a sound folder, and names the file (or the folder) that a message must
name. The kinds are the language model, the encoder, the adapter and the toxicity model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification

from tests.tiny_encoder import write_tiny_encoder
from tests.unit.bot.generators.tiny_llama import CHATML, byte_tokenizer, tiny_model

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4711\n"


@dataclass(frozen=True)
class Damage:
    """One way to damage a folder.

    Attributes:
        change: Changes a sound folder.
        names: What the message must name; None: the folder itself.
        says: Words that the message must contain, in lower case.
    """

    change: Callable[[Path], object]
    names: str | None
    says: str = ""


def write_language_model(folder: Path) -> Path:
    """Write a tiny Llama that transformers loads."""
    tiny_model().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["LlamaForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config))
    byte_tokenizer(CHATML).save_pretrained(folder)
    return folder


def write_classifier(folder: Path) -> Path:
    """Write a tiny classifier with a harmless and a toxic label."""
    write_tiny_encoder(folder)
    config = BertConfig.from_pretrained(folder)
    config.id2label, config.label2id = {0: "neutral", 1: "toxic"}, {"neutral": 0, "toxic": 1}
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def in_shards(folder: Path) -> Path:
    """Split the weights of a folder into two files with an index."""
    arrays = load_file(folder / WEIGHTS)
    names = sorted(arrays)
    halves = (names[: len(names) // 2], names[len(names) // 2 :])
    for shard, half in zip(SHARDS, halves, strict=True):
        save_file({name: arrays[name] for name in half}, folder / shard, metadata={"format": "pt"})
    weight_map = {name: shard for shard, half in zip(SHARDS, halves, strict=True) for name in half}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / WEIGHTS).unlink()
    return folder


def _cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-7])


def _holds(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _without(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink(missing_ok=True) for name in names]


def _only_bin(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def _renamed(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "weights.safetensors")


def _in_config(**values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | values))

    return change


def _weights(change: Callable[[dict], dict]) -> Callable[[Path], object]:
    def rewrite(folder: Path) -> None:
        arrays = change(load_file(folder / WEIGHTS))
        save_file(arrays, folder / WEIGHTS, metadata={"format": "pt"})

    return rewrite


def _folder_for_file(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def _dangling(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(folder / "gone")

    return change


def _shard(change: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: change(in_shards(folder))


TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")

DAMAGES: dict[str, Damage] = {
    "weights cut short": Damage(_cut(WEIGHTS), WEIGHTS, "copy"),
    "weights cut within the header": Damage(_holds(WEIGHTS, b"\x40\0\0\0\0\0\0\0{"), WEIGHTS),
    "weights with something after them": Damage(
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes() + b"more"), WEIGHTS
    ),
    "weights empty": Damage(_holds(WEIGHTS, b""), WEIGHTS, "empty"),
    "weights zeroed": Damage(_holds(WEIGHTS, bytes(5000)), WEIGHTS),
    "weights a page of html": Damage(_holds(WEIGHTS, b"<!doctype html><p>404"), WEIGHTS),
    "weights a Git LFS pointer": Damage(_holds(WEIGHTS, LFS_POINTER), WEIGHTS, "git lfs pull"),
    "weights a folder": Damage(_folder_for_file(WEIGHTS), WEIGHTS),
    "weights a link to nothing": Damage(_dangling(WEIGHTS), WEIGHTS),
    "weights that give an error of the disk": Damage(
        lambda folder: [(folder / WEIGHTS).unlink(), (folder / WEIGHTS).symlink_to("/proc/self/mem")],
        WEIGHTS,
        "cannot be read",
    ),
    "weights missing": Damage(_without(WEIGHTS), WEIGHTS),
    "weights only as .bin": Damage(_only_bin, "pytorch_model.bin", "safetensors"),
    "weights under another name": Damage(_renamed, WEIGHTS),
    "weights of other shapes": Damage(
        _weights(lambda arrays: {n: a.repeat(2, axis=0) for n, a in arrays.items()}), None
    ),
    "weights of another model": Damage(
        _weights(lambda arrays: {f"other.{n}": a for n, a in arrays.items()}), None, "weights"
    ),
    "weights without one layer": Damage(
        _weights(
            lambda arrays: {n: a for n, a in arrays.items() if "layers.0" not in n and "layer.0" not in n}
        ),
        None,
        "weights",
    ),
    "a shard missing": Damage(_shard(_without(SHARDS[1])), SHARDS[1]),
    "a shard cut short": Damage(_shard(_cut(SHARDS[0])), SHARDS[0]),
    "a shard a Git LFS pointer": Damage(_shard(_holds(SHARDS[1], LFS_POINTER)), SHARDS[1], "git lfs pull"),
    "an index that is no JSON": Damage(_shard(_holds(INDEX, b'{"weight_map": {')), INDEX),
    "an index without a map": Damage(_shard(_holds(INDEX, b'{"metadata": {}}')), INDEX),
    "an index of wrong types": Damage(_shard(_holds(INDEX, b'{"weight_map": ["a"]}')), INDEX),
    "no config.json": Damage(_without("config.json"), "config.json"),
    "config.json empty": Damage(_holds("config.json", b""), "config.json", "empty"),
    "config.json no JSON": Damage(_holds("config.json", b'{"model_type": "lla'), "config.json"),
    "config.json a list": Damage(_holds("config.json", b"[]"), "config.json"),
    "config.json without a type": Damage(_holds("config.json", b"{}"), "config.json"),
    "config.json not UTF-8": Damage(_holds("config.json", b"\xff\xfe{}"), "config.json"),
    "config.json a Git LFS pointer": Damage(
        _holds("config.json", LFS_POINTER), "config.json", "git lfs pull"
    ),
    "an unknown architecture": Damage(_in_config(model_type="no-such-model"), None, "no-such-model"),
    "an architecture that does not write": Damage(_in_config(model_type="vit"), None),
    "a size of the wrong type": Damage(_in_config(hidden_size="large"), None),
    "a size of zero": Damage(_in_config(hidden_size=0), None),
    "more layers than weights": Damage(_in_config(num_hidden_layers=7), None, "weights"),
    "no tokenizer": Damage(_without(*TOKENIZERS), "tokenizer"),
    "tokenizer.json cut short": Damage(_cut("tokenizer.json"), "tokenizer.json"),
    "tokenizer.json empty": Damage(_holds("tokenizer.json", b""), "tokenizer.json", "empty"),
    "tokenizer.json of another kind": Damage(_holds("tokenizer.json", b'{"version": "9"}'), None),
    "tokenizer.json a Git LFS pointer": Damage(
        _holds("tokenizer.json", LFS_POINTER), "tokenizer.json", "git lfs pull"
    ),
    "tokenizer_config.json no JSON": Damage(_holds("tokenizer_config.json", b"{"), "tokenizer_config.json"),
    "an empty folder": Damage(lambda folder: [shutil.rmtree(folder), folder.mkdir()], None),
}


@dataclass(frozen=True)
class GgufDamage:
    """One way to damage a GGUF file: the bytes of the sound file -> those of the damaged one."""

    change: Callable[[bytes], bytes]
    says: str = ""


def _with_quantisation(number: int) -> Callable[[bytes], bytes]:
    """Give the first tensor another quantisation; its number follows the name and the sizes."""

    def change(whole: bytes) -> bytes:
        name = b"token_embd.weight"
        at = whole.index(name) + len(name)
        n_axes = int.from_bytes(whole[at : at + 4], "little")
        at += 4 + 8 * n_axes
        return whole[:at] + number.to_bytes(4, "little") + whole[at + 4 :]

    return change


GGUF_DAMAGES: dict[str, GgufDamage] = {
    "empty": GgufDamage(lambda _: b"", "empty"),
    "a Git LFS pointer": GgufDamage(lambda _: LFS_POINTER, "git lfs pull"),
    "a page of html": GgufDamage(lambda _: b"<html>404</html>", "no gguf file"),
    "a zip": GgufDamage(lambda whole: b"PK\x03\x04" + whole[4:1000], "no gguf file"),
    "cut within the magic": GgufDamage(lambda whole: whole[:3], "no gguf file"),
    "cut after the magic": GgufDamage(lambda whole: whole[:4]),
    "cut within the header": GgufDamage(lambda whole: whole[:2000]),
    "cut within the weights": GgufDamage(lambda whole: whole[: len(whole) // 50]),
    "an unknown version": GgufDamage(lambda whole: whole[:4] + b"\x63\0\0\0" + whole[8:5000]),
    "an unknown quantisation": GgufDamage(_with_quantisation(777), "quantisation"),
    "a quantisation that was given up": GgufDamage(_with_quantisation(4), "quantisation"),
    "an unknown architecture": GgufDamage(
        lambda whole: whole.replace(
            b"architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
            b"architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llamX",
            1,
        ),
        "architecture",
    ),
}
