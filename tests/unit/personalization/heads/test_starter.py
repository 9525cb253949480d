"""The prior that ships: it fits the packaged encoder, answers a new server, and yields to members' labels."""

from __future__ import annotations

import logging
import tomllib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from personalization.encoding.features import FeatureMap
from personalization.heads import starter
from personalization.heads.heads import Prior, starter_prior
from personalization.heads.starter import load_starter, shipped_prior
from personalization.lab.starter_mean import RECIPE
from personalization.labels.labels import EmojiValence
from personalization.population.fit_prior import fit_prior
from personalization.population.pooled import Pool
from personalization.rounds.trainer import Trainer
from personalization.settings import LearningSettings
from tests.fakes import HashEncoder
from tests.unit.personalization.bench import ALICE, CROWD, LONG, SETTINGS, SHORT, Bench

SENSIBLE = [
    "That is a good question. I would start with the first chapter.",
    "I love hiking in the mountains, especially in autumn.",
    "Nice to hear that! How was your day?",
    "Yes, I agree with you.",
]
BROKEN = [
    "NASDAQ 9 reading question what is what",
    "I am not able to find the answer to the question that is asked to the answer.",
    "You are a liar and stupid.",
    "Paragraph article text according to the text the the.",
]
HELPFUL = [
    "Sure! Start with a short walk each day, then add ten minutes a week. What is your goal?",
    "The sky looks blue because air scatters short wavelengths of light more than long ones.",
    "Here are three ideas:\n1. A picnic in the park\n2. A museum, if it rains\n3. Cooking together at home",
    "I'm sorry to hear that. If you like, tell me what happened, and we can look for a way out together.",
]
CURT = ["No.", "idk", "Light.", "As an AI I cannot", "things things things", "ok whatever u say"]


@pytest.fixture(scope="module")
def real_features(real_encoder) -> FeatureMap:
    return FeatureMap(real_encoder)


def test_what_ships_is_made_for_the_features_that_ship(real_features):
    """If it fails after a change of encoder or style features, run ``make starter DATA=folder``."""
    prior = shipped_prior(real_features)

    assert prior.feature_id == real_features.feature_id
    assert prior.factor is not None
    assert prior.calibration is not None
    assert prior.bias_variance > 0
    style = prior.mean[real_features.n_embedding :]
    assert 0 < np.abs(style).max() < 0.2  # style counts, but no one habit decides


def test_the_first_reply_on_a_new_server_is_ranked(real_features):
    prior = load_starter(real_features, LearningSettings())

    scores = prior.head().score(real_features.features([*SENSIBLE, *BROKEN]))

    ahead = scores[: len(SENSIBLE), None] > scores[None, len(SENSIBLE) :]
    assert ahead.mean() > 0.7


def test_helpful_replies_of_today_s_models_come_before_curt_ones(real_features):
    """With DBDC3 alone, the starter ranked replies of today's models at random."""
    prior = load_starter(real_features, LearningSettings())

    scores = prior.head().score(real_features.features([*HELPFUL, *CURT]))

    ahead = scores[: len(HELPFUL), None] > scores[None, len(HELPFUL) :]
    assert ahead.mean() > 0.9


def test_the_threshold_is_the_host_s_setting(real_features):
    prior = load_starter(real_features, LearningSettings(bias_sd=3.0))

    assert prior.bias_variance == 9.0
    assert prior.probability(np.zeros(1, np.float32), 0) == 0.5


def test_another_encoder_gets_a_plain_prior_and_one_line_says_so(caplog):
    features = FeatureMap(HashEncoder())
    with caplog.at_level(logging.INFO, "personalization.heads.starter"):
        prior = load_starter(features, SETTINGS)

    assert prior.prior_id == starter_prior(features, SETTINGS).prior_id
    assert [record.getMessage() for record in caplog.records] == [
        "There is no starter prior for this encoder; a plain one answers until members teach one"
    ]


@pytest.mark.parametrize("name", ["nowhere.safetensors", "starter.LICENSE.txt"])
def test_a_missing_or_damaged_file_gets_a_plain_prior_and_a_warning(monkeypatch, caplog, name):
    monkeypatch.setattr(starter, "FILE", name)
    features = FeatureMap(HashEncoder())

    prior = load_starter(features, SETTINGS)

    assert prior.prior_id == starter_prior(features, SETTINGS).prior_id
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_the_notices_of_all_sets_ship_beside_the_prior():
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())
    shipped = project["tool"]["setuptools"]["package-data"]["personalization"]

    notice = (files("personalization") / "starter.LICENSE.txt").read_text()

    assert {starter.FILE, "starter.LICENSE.txt"} <= set(shipped)
    sources = {
        "dbdc3": "dbd-challenge/dbdc3",
        "convai2018": "DeepPavlovAdmin/convai",
        "mtbench": "lmsys/mt_bench_human_judgments",
        "dialogue_eval": "TianboJi/Dialogue-Eval",
        "ukpconvarg1": "UKPLab/acl2016-convincing-arguments",
    }
    assert set(sources) == starter.FITTED_ON == set(RECIPE.weights)
    assert all(source in notice for source in sources.values())
    assert notice.count("Licence:") == len(sources)
    assert notice.count("creativecommons.org/licenses/by/4.0") == 2
    assert "Permission is hereby granted, free of charge" in notice


def likes_long(features: FeatureMap) -> Prior:
    """A starter that mildly prefers the long reply, for the small encoder."""
    plain = starter_prior(features, SETTINGS)
    short, long = features.features([SHORT, LONG])
    return replace(plain, mean=(0.001 * (long - short)).astype(np.float32))


async def test_the_starter_answers_before_members_have_taught_and_when_they_left(
    store, features, executor, clock
):
    bench = Bench(store, features, executor, clock)
    bench.trainer = Trainer(
        store.learning,
        bench.ranker,
        SETTINGS,
        features,
        EmojiValence(),
        executor,
        starter=likes_long(features),
        now=clock,
    )
    await bench.trainer.restore()
    first = await bench.favourite(ALICE)
    for who in CROWD[:5]:
        await bench.teach(who, likes=SHORT, dislikes=LONG)
    await bench.trainer.rebuild_prior()
    taught = await bench.favourite(ALICE)
    for who in CROWD[:5]:
        await store.privacy.forget(who.user_id)
    await bench.trainer.rebuild_prior()

    assert (first, taught, await bench.favourite(ALICE)) == (LONG, SHORT, LONG)
    assert bench.ranker.prior.prior_id == likes_long(features).prior_id
    await bench.trainer.close()
    bench.ranker.close()


def test_the_starter_gives_way_as_members_teach():
    """Members want the opposite of the starter: one member cannot tell, ten and more overrule it."""
    rng = np.random.default_rng(0)
    d = 8
    plain = Prior(np.zeros(d, np.float32), np.full(d, 0.1, np.float32), 0.0, 1.0, "made-up")
    belief = replace(plain, mean=np.eye(d, dtype=np.float32)[0])
    found = []
    for n_members in (1, 10, 39, 60):
        n = 20 * n_members
        X = (rng.normal(size=(n, d)) / np.sqrt(d)).astype(np.float32)
        y = (rng.random(n) < 1 / (1 + np.exp(6 * X[:, 0]))).astype(np.float32)
        pool = Pool(X, y, np.ones(n, np.float32), np.repeat(np.arange(n_members), 20))
        found.append(float(fit_prior(pool, belief, member_cap=1e9, device="cpu").mean[0]))

    assert found[0] == 1.0
    assert all(mean < -2 for mean in found[1:])


def test_a_server_too_small_to_calibrate_keeps_the_starter_s_calibration():
    """Of three members none can be held out."""
    rng = np.random.default_rng(0)
    table = np.tile(np.array([0.5, 0.9, 0.0], np.float32), (7, 1))
    plain = Prior(np.zeros(4, np.float32), np.full(4, 0.1, np.float32), 0.0, 1.0, "made-up")
    X = rng.normal(size=(15, 4)).astype(np.float32)
    pool = Pool(X, (X[:, 0] > 0).astype(np.float32), np.ones(15, np.float32), np.repeat(np.arange(3), 5))

    learnt = fit_prior(pool, replace(plain, calibration=table), member_cap=20.0, device="cpu")

    np.testing.assert_array_equal(learnt.calibration, table)
