"""The search for the prior's settings finds planted better ones, and never uses held-out labels."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import numpy as np
import pytest

from bot.config import parse_settings
from personalization.heads.heads import Prior
from personalization.lab.datasets import Dataset
from personalization.lab.prior_search import Choice, Search, as_toml
from personalization.settings import PriorSettings

D, N_EMBEDDING = 24, 20
DEAF = Choice(PriorSettings(style_scale=0.02, rank=4), 2.0)
"""Settings that almost ignore the style features, although only these matter here."""


def population(*, users=100, items=150, seed=0):
    """A set whose members differ in one style feature, which the embedding does not contain."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(items, D)).astype(np.float32)
    features[:, :N_EMBEDDING] /= np.linalg.norm(features[:, :N_EMBEDDING], axis=1, keepdims=True)
    taste = np.where(np.arange(users) % 2, 2.5, -2.5)
    user = np.repeat(np.arange(users), 60)
    item = np.concatenate([rng.permutation(items)[:60] for _ in range(users)])
    p = 1 / (1 + np.exp(-taste[user] * features[item, N_EMBEDDING]))
    y = (rng.random(len(p)) < p).astype(np.float32)
    groups, names = tuple(f"g{i}" for i in range(items)), tuple(f"u{i}" for i in range(users))
    return Dataset("made-up", False, groups, groups, names, user, item[:, None], y), features


def search(dataset, features, labels=None, **more):
    zero = np.zeros(D, np.float32)
    starter = Prior(zero, zero, 0.0, 4.0, "made-up")
    every = np.arange(len(dataset.y)) if labels is None else labels
    return Search(
        dataset, every, features, starter, n_embedding=N_EMBEDDING, in_use=DEAF, device="cpu", **more
    )


@pytest.fixture(scope="module")
def tuned():
    return search(*population()).run(8)


@pytest.mark.slow
def test_a_planted_better_setting_is_found_and_the_jury_agrees(tuned):
    assert tuned.trials[0].choice == DEAF
    assert tuned.best.choice.prior.style_scale > 3 * DEAF.prior.style_scale
    assert tuned.best.loss < tuned.trials[0].loss - 0.02
    assert tuned.is_better
    assert tuned.gain > 0.05


@pytest.mark.slow
def test_hopeless_trials_are_broken_off(tuned):
    whole = [trial.loss for trial in tuned.trials if trial.loss is not None]

    assert len(tuned.trials) == 8
    assert 4 <= len(whole) < 8
    assert tuned.best.loss == min(whole)


def test_the_same_seed_searches_alike_and_members_who_are_tested_are_never_seen():
    dataset, features = population(users=60, items=100)
    allowed = np.flatnonzero(dataset.user % 5 != 0)
    poisoned = replace(dataset, y=np.where(dataset.user % 5 == 0, np.nan, dataset.y).astype(np.float32))

    clean, blind = (search(some, features, allowed).run(3) for some in (dataset, poisoned))

    assert clean == blind
    assert np.isfinite([trial.loss for trial in blind.trials if trial.loss is not None]).all()


def test_the_jury_and_the_folds_share_neither_members_nor_groups():
    dataset, features = population()
    found = search(dataset, features)

    judges = {member.user for member in found._judge}
    asked = {dataset.item[i, 0] for member in found._judge for i in member.query}
    for split in found._folds:
        used = np.concatenate([split.teach, *(m.query for m in split.stop), *(m.query for m in split.judge)])
        assert not judges & set(dataset.user[used].tolist())
        assert not asked & set(dataset.item[used, 0].tolist())
    assert len(judges) == 20


def test_what_it_writes_is_a_configuration():
    choice = Choice(PriorSettings(rank=48, style_scale=0.3, whitening=0.4, start_variance=0.5), 1.5)

    settings = parse_settings(tomllib.loads(as_toml(choice))).personalization

    assert Choice(settings.prior, settings.bias_sd) == choice
