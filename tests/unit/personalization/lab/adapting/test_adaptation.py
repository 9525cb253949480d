"""Adaptation of an encoder, with the real PEFT and a tiny encoder."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from personalization.encoding.adapter import (
    CONFIG,
    NOTE,
    WEIGHTS,
    AdaptableEncoder,
    AdapterShape,
    load_adapted,
)
from personalization.encoding.encoder import load_model
from personalization.encoding.features import STYLE, FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.errors import AdapterTrouble, EncoderDamaged
from personalization.heads.heads import HeadBank, starter_prior
from personalization.lab.adapting.adaptation import Adaptation
from personalization.lab.adapting.steps import AdapterOptimiser, GroupedLabels
from personalization.lab.kept_out import split_labels
from personalization.lab.options import AdaptSettings, StepSettings
from personalization.settings import LearningSettings
from tests.tiny_encoder import judged, write_tiny_encoder

DIM = 16
SHAPE = AdapterShape(rank=4, alpha=8.0, attention_only=False)
QUICK = AdaptSettings(shape=SHAPE, steps=StepSettings(learning_rate=3e-2, replies=8), rounds=4, patience=4)
CPU = torch.device("cpu")


class Space:
    """Feature space of the tiny encoder."""

    feature_id, dim, n_embedding = "tiny", DIM + len(STYLE), DIM


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder", dim=DIM)


def adaptation(dataset, folder, settings=QUICK, **more):
    starter = starter_prior(Space(), LearningSettings())
    every = np.arange(len(dataset.y))
    return Adaptation(dataset, every, load_model(str(folder)), starter, settings, device="cpu", **more)


@pytest.fixture(scope="module")
def found(folder):
    """An adaptation that improves the encoder, with the figures it noted."""
    noted = []
    task = adaptation(judged(), folder, note=lambda *what: noted.append(what))
    return task, task.run(), noted


@pytest.mark.slow
def test_an_encoder_that_cannot_tell_what_is_liked_learns_to(found):
    _, result, _ = found

    assert result.history[0].metric == pytest.approx(0.5, abs=0.06)  # the frozen encoder is at chance
    assert result.history[result.best_round].metric > result.history[0].metric + 0.08
    assert result.best_round == min(range(len(result.history)), key=lambda i: result.history[i].loss)
    assert result.is_better
    assert result.gain > 2 * result.gain_se


@pytest.mark.slow
def test_coin_tosses_teach_nothing_and_are_not_adopted(folder):
    result = adaptation(judged(noise=True), folder).run()

    assert not result.is_better


def test_it_ends_when_no_better_round_comes(folder):
    settings = AdaptSettings(shape=SHAPE, steps=StepSettings(replies=8), rounds=9, patience=1)

    result = adaptation(judged(noise=True), folder, settings).run()

    assert len(result.history) == result.best_round + 2 < 10


@pytest.mark.slow
def test_every_figure_is_noted_for_a_curve(found):
    task, result, noted = found
    names = {name for name, _, _ in noted}
    rates = [value for name, value, _ in noted if name == "steps/learning rate"]

    assert names == {
        "steps/gradient norm",
        "steps/learning rate",
        "training/loss",
        "kept out/loss",
        "kept out/ranked rightly",
    }
    assert len(rates) <= 1.2 * task.n_steps
    assert max(rates) == pytest.approx(QUICK.steps.learning_rate, rel=0.01)
    assert rates[0] < max(rates) > 5 * rates[-1]  # warm-up, then decay
    assert [step for name, _, step in noted if name == "kept out/loss"] == [*range(len(result.history))]
    assert all(math.isfinite(value) for _, value, _ in noted)


class Killed(Exception):
    """Simulates a kill during a round."""


@pytest.mark.slow
def test_a_killed_run_that_goes_on_ends_where_an_unbroken_one_does(folder, found, tmp_path):
    _, unbroken, _ = found
    checkpoint = tmp_path / "checkpoint.safetensors"
    n_steps = 0

    def kill(name, value, step):
        nonlocal n_steps
        n_steps += name == "steps/learning rate"
        if n_steps == 30:  # in the third round
            raise Killed

    with pytest.raises(Killed):
        adaptation(judged(), folder, checkpoint=checkpoint, note=kill).run()
    noted = []
    resumed = adaptation(judged(), folder, checkpoint=checkpoint, note=lambda *what: noted.append(what)).run()

    assert [step for name, _, step in noted if name == "kept out/loss"] == [2, 3, 4]  # resumed, not restarted
    assert resumed.history[1:] == unbroken.history[1:]
    assert (resumed.best_round, resumed.gain) == (unbroken.best_round, unbroken.gain)
    for name, weight in unbroken.encoder.trained().items():
        torch.testing.assert_close(resumed.encoder.trained()[name], weight, rtol=0, atol=0)


def test_a_checkpoint_of_another_task_is_refused(folder, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    once = AdaptSettings(shape=SHAPE, steps=QUICK.steps, rounds=1)
    adaptation(judged(), folder, once, checkpoint=checkpoint).run()

    with pytest.raises(AdapterTrouble, match="of another task"):
        adaptation(judged(seed=1), folder, once, checkpoint=checkpoint).run()
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(AdapterTrouble, match="expected a checkpoint"):
        adaptation(judged(), folder, once, checkpoint=checkpoint).run()


def test_juries_share_neither_members_nor_queried_groups_with_who_teaches():
    dataset = judged()
    every = np.arange(len(dataset.y))

    split = split_labels(dataset, every, seed=0)

    def users(members):
        return {member.user for member in members}

    def groups(labels):
        return {dataset.groups[i] for i in dataset.item[labels, 0]}

    teachers = set(dataset.user[split.teach].tolist())
    asked = [groups(np.concatenate([m.query for m in jury])) for jury in (split.stop, split.judge)]
    assert (len(users(split.stop)), len(users(split.judge))) == (12, 12)
    assert not teachers & users(split.stop)
    assert not teachers & users(split.judge)
    assert not users(split.stop) & users(split.judge)
    assert not asked[0] & asked[1]
    assert not groups(split.teach) & (asked[0] | asked[1])
    assert all(groups(member.support) <= groups(split.teach) for member in split.stop + split.judge)


@pytest.fixture
def encoder(folder):
    return AdaptableEncoder(load_model(str(folder)), SHAPE, CPU, seed=0)


def taught(encoder, *, accumulate=1, steps=3, pairs=False, dropout_free=True):
    """Take some steps on a small lesson; returns the adapter's weights."""
    texts = ["hot tea", "hot jam", "ice tea", "ice jam"]
    rows = np.array([[0, 1], [2, 3], [3, 1]] if pairs else [[0], [1], [2], [3], [0]])
    y = np.array([1, 0, 1] if pairs else [1, 0, 0, 1, 0.5], np.float32)
    lesson = GroupedLabels.of(rows, y, np.arange(len(y)) % 2)
    style = np.zeros((4, 2), np.float32)
    weights = np.random.default_rng(0).normal(size=(2, DIM + 2)).astype(np.float16)
    heads = HeadBank(weights, np.zeros(2, np.float16), "tiny", "")
    settings = StepSettings(learning_rate=1e-2, replies=4, accumulate=accumulate)
    optimiser = AdapterOptimiser(encoder, settings, n_steps=100, seed=0, note=lambda *_: None)
    losses = [optimiser.teach(lesson, heads, texts, style) for _ in range(steps)]
    return losses, {name: weight.detach().clone() for name, weight in encoder.trained().items()}


@pytest.mark.parametrize("pairs", [False, True])
def test_steps_lower_the_loss_of_frozen_heads(encoder, pairs):
    losses, _ = taught(encoder, steps=20, pairs=pairs)

    assert losses[-1] < 0.8 * losses[0]


def test_a_step_in_parts_is_the_same_step(folder):
    shape = AdapterShape(rank=4, alpha=8.0, dropout=0.0, attention_only=False)
    whole, parts = (AdaptableEncoder(load_model(str(folder)), shape, CPU, seed=0) for _ in range(2))

    _, expected = taught(whole)
    _, found = taught(parts, accumulate=3)

    for name, weight in expected.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-6)


def test_an_adapter_starts_without_effect_and_leaves_the_base_alone(encoder, folder):
    plain = load_encoder(str(folder), "cpu").encode(["hot tea", "ice"])

    np.testing.assert_allclose(encoder.encode(["hot tea", "ice"]), plain, atol=1e-6)
    taught(encoder)
    assert np.abs(encoder.encode(["hot tea", "ice"]) - plain).max() > 1e-3
    np.testing.assert_allclose(encoder.encode(["hot tea", "ice"], frozen=True), plain, atol=1e-6)


def test_only_the_last_layers_change_when_told_so(folder):
    shape = AdapterShape(rank=2, layers=1)

    names = AdaptableEncoder(load_model(str(folder)), shape, CPU, seed=0).trained()

    assert names
    assert all(".layer.1." in name for name in names)
    assert {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in names} == {"query", "value"}


@pytest.fixture
def adapter(encoder, tmp_path):
    taught(encoder)
    encoder.save(tmp_path / "adapter", {"trained_on": "made-up"})
    return tmp_path / "adapter"


def test_a_saved_adapter_is_an_encoder_of_its_own_by_configuration(adapter, encoder, folder):
    base = load_encoder(str(folder), "cpu")

    loaded = load_encoder(str(adapter), "cpu")

    texts = ["hot tea", "ice jam all day"]
    np.testing.assert_allclose(loaded.encode(texts), encoder.encode(texts), atol=1e-5)
    assert loaded.encoder_id.startswith("encoder+lora@")
    assert loaded.encoder_id != base.encoder_id
    assert FeatureMap(loaded).feature_id != FeatureMap(base).feature_id
    assert loaded.frozen.encoder_id == base.encoder_id
    assert load_encoder(str(adapter), "cpu").encoder_id == loaded.encoder_id
    assert json.loads((adapter / NOTE).read_text())["trained_on"] == "made-up"


def test_other_adapter_bytes_are_another_encoder(adapter, encoder, tmp_path):
    taught(encoder, steps=1)
    encoder.save(tmp_path / "other", {})

    ids = {load_encoder(str(place), "cpu").encoder_id for place in (adapter, tmp_path / "other")}

    assert len(ids) == 2


def test_relevance_is_judged_by_the_encoder_before_it_was_adapted(adapter, folder):
    base, adapted = (FeatureMap(load_encoder(str(place), "cpu")) for place in (folder, adapter))

    plain = base.encode("hot tea", ["ice tea", "all day"])
    found = adapted.encode("hot tea", ["ice tea", "all day"])

    np.testing.assert_array_equal(found.relevance, plain.relevance)
    assert np.abs(found.features - plain.features).max() > 1e-3


def test_an_adapter_whose_base_has_changed_is_refused(adapter, folder, tmp_path):
    note = json.loads((adapter / NOTE).read_text())
    (adapter / NOTE).write_text(json.dumps(note | {"base_version": "0" * 16}))

    with pytest.raises(EncoderDamaged, match="which the adapter"):
        load_encoder(str(adapter), "cpu")


@pytest.mark.parametrize("name", [WEIGHTS, NOTE])
def test_a_damaged_or_incomplete_adapter_is_refused(adapter, name):
    (adapter / name).write_bytes((adapter / name).read_bytes()[:40])

    with pytest.raises(EncoderDamaged, match="of an adapter"):
        load_adapted(adapter, CPU, 1)
    (adapter / name).unlink()
    with pytest.raises(EncoderDamaged, match="of an adapter"):
        load_adapted(adapter, CPU, 1)


def test_an_adapter_of_another_shape_is_refused(adapter):
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps(config | {"r": 2}))

    with pytest.raises(EncoderDamaged, match="does not fit"):
        load_encoder(str(adapter), "cpu")


@pytest.mark.slow
def test_the_packaged_encoder_takes_some_steps():
    encoder = AdaptableEncoder(load_model("packaged"), AdapterShape(layers=2), CPU, seed=0)
    texts = ["I like tea.", "No way!", "Maybe later?", "Sure, gladly."]
    rng = np.random.default_rng(0)
    heads = HeadBank(rng.normal(size=(2, 386)).astype(np.float16), np.zeros(2, np.float16), "", "")
    lesson = GroupedLabels.of(
        np.array([[0], [1], [2], [3]]), np.array([1, 0, 0, 1], np.float32), np.array([0, 1, 1, 0])
    )
    optimiser = AdapterOptimiser(
        encoder, StepSettings(learning_rate=3e-3), n_steps=20, seed=0, note=lambda *_: None
    )

    losses = [optimiser.teach(lesson, heads, texts, np.zeros((4, 2), np.float32)) for _ in range(8)]

    assert losses[-1] < 0.9 * losses[0]
