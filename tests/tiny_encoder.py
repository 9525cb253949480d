"""A real transformers encoder, so small that adapting it takes a moment, and a set of judgements for it.

Two layers over a dozen words, drawn at random. Whether a text is liked depends on two words together. No
linear head on the unadapted encoder can learn that; an adapter can.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from personalization.lab.datasets import Dataset

WORDS = ("tea", "jam", "hot", "ice", "red", "out", "and", "has", "too", "now", "all", "day")


def write_tiny_encoder(folder: Path, *, dim: int = 16) -> Path:
    """Write the encoder's files."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    inner = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=len(names),
            hidden_size=dim,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=2 * dim,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        model = transformers.BertModel(config)
        with torch.no_grad():
            words = model.embeddings.word_embeddings.weight
            words.normal_(0, 1)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def judged(*, users=60, items=120, seed=0, noise=False):
    """Hot tea and iced jam are liked, iced tea and hot jam are not; with noise, labels are coin tosses."""
    rng = np.random.default_rng(seed)
    texts, liked = [], []
    for i in range(items):
        thing, warmth = i % 2, i // 2 % 2
        words = [str(word) for word in rng.choice(WORDS[4:], 3)]
        words.insert(int(rng.integers(3)), WORDS[thing])
        words.insert(int(rng.integers(4)), WORDS[2 + warmth])
        texts.append(" ".join(words))
        liked.append(0.5 if noise else (0.12, 0.88)[thing == warmth])
    user = np.repeat(np.arange(users), items // 2)
    item = np.concatenate([rng.permutation(items)[: items // 2] for _ in range(users)])
    y = (rng.random(len(item)) < np.array(liked)[item]).astype(np.float32)
    groups, names = tuple(f"g{i}" for i in range(items)), tuple(f"u{i}" for i in range(users))
    return Dataset("made-up", False, tuple(texts), groups, names, user, item[:, None], y)


def write_set(folder: Path, dataset: Dataset) -> Path:
    """Write a pointwise set as a folder."""
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps({"name": dataset.name, "kind": "pointwise"}))
    items = [
        {"item_id": f"i{i}", "reply": text, "group": group}
        for i, (text, group) in enumerate(zip(dataset.texts, dataset.groups, strict=True))
    ]
    labels = [
        {"user_id": dataset.users[user], "item_id": f"i{item}", "label": float(y)}
        for user, item, y in zip(dataset.user, dataset.item[:, 0], dataset.y, strict=True)
    ]
    for name, lines in (("items", items), ("labels", labels)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    return folder
