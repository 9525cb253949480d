"""The toxicity judge, with a real model of a few hundred weights that is built on the fly."""

from __future__ import annotations

import pytest
import torch
import transformers

from bot.doctor import Verdict
from bot.doctor.models import examine_toxicity
from bot.moderation import ToxicityError, toxicity
from bot.moderation.toxicity import load_judge
from bot.settings import SafetySettings
from tests.tiny_encoder import write_tiny_encoder


def write_tiny_judge(folder, labels, **changes):
    """Write the tokenizer of the tiny encoder and a classifier over its vocabulary."""
    write_tiny_encoder(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=16,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=64,
            id2label=dict(enumerate(labels)),
            label2id={name: i for i, name in enumerate(labels)},
            **changes,
        )
        model = transformers.BertForSequenceClassification(config)
    model.save_pretrained(folder)
    return folder


async def scores(folder, texts, **changes):
    judge = load_judge(SafetySettings(toxicity_model=str(folder), device="cpu", **changes))
    try:
        return await judge.toxicity(texts)
    finally:
        judge.close()


async def expected(folder, text, turn):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return turn(model(**tokenizer([text], return_tensors="pt")).logits[0])


async def test_labels_that_shut_each_other_out_are_summed_over_the_bad_ones(tmp_path):
    folder = write_tiny_judge(tmp_path / "judge", ["neutral", "insult", "threat"])

    found = await scores(folder, ["red hot tea", "ice", ""])
    chosen = await scores(folder, ["red hot tea"], toxic_labels=("threat",))

    assert found[0] == pytest.approx(
        1 - await expected(folder, "red hot tea", lambda x: x.softmax(0)[0].item())
    )
    assert found[2] == 0.0
    assert chosen == [pytest.approx(await expected(folder, "red hot tea", lambda x: x.softmax(0)[2].item()))]


async def test_labels_that_stand_beside_each_other_give_the_worst_of_them_and_of_all_pieces(
    tmp_path, monkeypatch
):
    folder = write_tiny_judge(
        tmp_path / "judge", ["toxic", "obscene"], problem_type="multi_label_classification"
    )
    monkeypatch.setattr(toxicity, "PIECE", 8)

    (whole,) = await scores(folder, ["red hot ice jam "])
    parts = await scores(folder, ["red hot ", "ice jam "])

    assert whole == pytest.approx(max(parts))
    assert parts[0] == pytest.approx(await expected(folder, "red hot ", lambda x: x.sigmoid().max().item()))


def test_a_model_that_is_missing_or_says_nothing_bad_is_one_readable_line(tmp_path):
    folder = write_tiny_judge(tmp_path / "judge", ["neutral", "normal"])

    with pytest.raises(ToxicityError, match=r"found only \['neutral', 'normal'\]"):
        load_judge(SafetySettings(toxicity_model=str(folder), device="cpu"))
    with pytest.raises(ToxicityError, match=r"correct \[safety\] toxicity_model"):
        load_judge(SafetySettings(toxicity_model=str(tmp_path / "nothing"), device="cpu"))
    assert load_judge(SafetySettings()) is None
    assert (
        examine_toxicity(SafetySettings(toxicity_model=str(folder), device="cpu")).verdict is Verdict.FAILED
    )
    named = SafetySettings(toxicity_model=str(folder), device="cpu", toxic_labels=("normal",))
    assert examine_toxicity(named).verdict is Verdict.OK
