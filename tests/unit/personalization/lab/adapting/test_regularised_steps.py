"""Augmented and adversarial training of a tiny encoder: they do what they say, and are off by default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from personalization.encoding.adapter import AdaptableEncoder, AdapterShape
from personalization.encoding.encoder import load_model
from personalization.heads.heads import HeadBank
from personalization.lab.adapting.augmentation import augmented
from personalization.lab.adapting.steps import AdapterOptimiser, GroupedLabels
from personalization.lab.options import AdaptSettings, StepSettings
from tests.tiny_encoder import write_tiny_encoder

DIM, CPU = 16, torch.device("cpu")
SHAPE = AdapterShape(rank=4, alpha=8.0, dropout=0.0, attention_only=False)
TEXTS = ["hot tea and red jam", "hot jam too", "ice tea now", "ice jam all day"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder", dim=DIM)


def made(folder):
    return AdaptableEncoder(load_model(str(folder)), SHAPE, CPU, seed=0)


def taught(folder, *, steps=2, **how):
    """Losses of some passes over a small lesson, and the adapter after them."""
    encoder = made(folder)
    lesson = GroupedLabels.of(
        np.arange(4)[:, None], np.array([1, 0, 0, 1], np.float32), np.array([0, 1, 0, 1])
    )
    weights = np.random.default_rng(0).normal(size=(2, DIM + 2)).astype(np.float16)
    heads = HeadBank(weights, np.zeros(2, np.float16), "tiny", "")
    settings = StepSettings(learning_rate=1e-2, replies=4, **how)
    optimiser = AdapterOptimiser(encoder, settings, n_steps=100, seed=0, note=lambda *_: None)
    losses = [optimiser.teach(lesson, heads, TEXTS, np.zeros((4, 2), np.float32)) for _ in range(steps)]
    return losses, torch.cat([weight.detach().flatten() for weight in encoder.trained().values()])


HOW = [{"augment": True}, {"adversarial": 0.1}, {"augment": True, "adversarial": 0.1}]


@pytest.mark.parametrize("how", HOW)
def test_regularised_steps_lower_the_loss_too(folder, how):
    losses, _ = taught(folder, steps=25, **how)

    assert np.mean(losses[-5:]) < 0.85 * losses[0]


@pytest.mark.parametrize("how", HOW)
def test_the_same_seed_gives_the_same_adapter_and_plain_training_another(folder, how):
    _, first = taught(folder, **how)
    _, second = taught(folder, **how)
    _, plain = taught(folder)

    assert torch.equal(first, second)
    assert not torch.allclose(first, plain, atol=1e-5)


@pytest.mark.parametrize("how", [{"adversarial": 1e-7}, {"adversarial": 0.0}])
def test_a_change_of_no_length_is_plain_training(folder, how):
    _, found = taught(folder, steps=1, **how)
    _, plain = taught(folder, steps=1)

    torch.testing.assert_close(found, plain, rtol=1e-3, atol=1e-5)


def test_the_adversarial_change_raises_the_loss_more_than_a_random_one(folder):
    encoder = made(folder)
    w = torch.from_numpy(np.random.default_rng(1).normal(size=DIM).astype(np.float32))

    def loss_at(change=None):
        with encoder.words(change) as seen:
            return -(encoder.embed(TEXTS, max_tokens=32, dtype=torch.float32) @ w).sum(), seen[0]

    plain, words = loss_at()
    plain.backward()
    worst = 0.05 * torch.nn.functional.normalize(words.grad, dim=(1, 2))
    torch.manual_seed(0)
    random = [0.05 * torch.nn.functional.normalize(torch.randn_like(worst), dim=(1, 2)) for _ in range(8)]

    harm = float((loss_at(worst)[0] - plain).detach())
    assert harm > 0
    assert all(float((loss_at(change)[0] - plain).detach()) < harm for change in random)
    assert float((loss_at(-worst)[0] - plain).detach()) < 0  # control: the other way, the loss falls


def test_nothing_watches_the_encoder_after_a_step(folder):
    encoder = made(folder)
    before = encoder.encode(TEXTS)

    with encoder.words(torch.ones(1, 1, DIM)):
        encoder.embed(TEXTS, max_tokens=32, dtype=torch.float32)

    np.testing.assert_array_equal(encoder.encode(TEXTS), before)


def test_both_are_off_by_default():
    steps = AdaptSettings().steps

    assert replace(steps, augment=False, adversarial=0.0) == steps
    assert augmented("Hot tea. Red jam.", np.random.default_rng(3)) != "Hot tea. Red jam."
