"""The mean of several sources: moments equal the sums over all preferences, and leaving out leaves out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from personalization.lab.datasets import Dataset
from personalization.lab.preference_moments import Source, gaps_of, moments_of, shares_right
from personalization.lab.preferences import preferences
from personalization.lab.starter_mean import RECIPE, MeanFit, Recipe, _parts

D = 5


def source(name="one", *, pairwise=False, seed=0, wants=0, levels=3, users=20, items=40):
    """Members want more of one feature, and each judges some items, graded or in pairs."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(items, D))
    user, item, y = [], [], []
    for who in range(users):
        for i in rng.permutation(items)[: int(rng.integers(1, 12))]:
            user.append(who)
            if pairwise:
                j = int(rng.integers(items))
                item.append([i, j])
                y.append(float(X[i, wants] > X[j, wants]))
            else:
                item.append([i])
                y.append(round((levels - 1) / (1 + np.exp(-3 * X[i, wants]))) / (levels - 1))
    data = Dataset(
        name,
        pairwise,
        tuple(f"reply {i}" for i in range(items)),
        tuple(f"group {i // 2}" for i in range(items)),
        tuple(f"u{i}" for i in range(users)),
        np.array(user),
        np.array(item),
        np.array(y, np.float32),
    )
    return Source(data, X)


@pytest.mark.parametrize("pairwise", [False, True])
@pytest.mark.parametrize("levels", [2, 3, 50])
@pytest.mark.parametrize("part", [False, True])
def test_moments_are_means_over_all_preferences(pairwise, levels, part):
    one = source(pairwise=pairwise, levels=levels)
    here = np.arange(len(one.dataset.y)) % 3 > 0 if part else None
    grams, gaps = [], []
    for _, pairs in preferences(one.dataset, here):
        own = one.X[pairs[:, 0]] - one.X[pairs[:, 1]]
        grams.append(own.T @ own / len(own))
        gaps.append(own.mean(axis=0))

    found = moments_of(one, here)

    assert found is not None
    np.testing.assert_allclose(found.gram, np.mean(grams, axis=0), atol=1e-9)
    np.testing.assert_allclose(found.gap, np.mean(gaps, axis=0), atol=1e-9)


@pytest.mark.parametrize("pairwise", [False, True])
def test_labels_without_a_preference_have_no_moments(pairwise):
    one = source(pairwise=pairwise)

    assert moments_of(one, np.zeros(len(one.dataset.y), np.bool_)) is None
    if not pairwise:
        assert moments_of(Source(replace(one.dataset, y=np.ones_like(one.dataset.y)), one.X)) is None


def test_a_head_that_knows_what_is_wanted_orders_every_preference():
    one = source(levels=50)

    assert (shares_right(one, np.eye(D)[0]) == 1).all()
    assert (shares_right(one, -np.eye(D)[0]) == 0).all()
    assert (shares_right(one, np.zeros(D)) == 0.5).all()
    assert all((gap > 0).all() for gap in gaps_of(one, np.eye(D)[0]))


def test_a_source_that_is_left_out_teaches_nothing():
    """Two sources want opposite things: apart from its own people, each is ranked the wrong way round."""
    one, other = source("one"), source("other", seed=1)
    other = Source(replace(other.dataset, y=1 - other.dataset.y), other.X)
    recipe = Recipe(weights={"one": 1.0, "other": 0.01})
    fit = MeanFit([one, other], D - 1)

    measured = fit.measure(recipe)

    assert measured.unseen["one"][0] > 0.9
    assert measured.apart["one"][0] < 0.1
    assert fit.fit(recipe)[0] > 0 > fit.fit(recipe, {"one": None})[0]


def test_sources_count_by_their_weights():
    one, other = source("one", wants=0), source("other", wants=1, seed=1)
    fit = MeanFit([one, other], D - 1)

    by_weight = [fit.fit(Recipe(weights={"one": weight}))[:2] for weight in (0.1, 10.0)]

    assert by_weight[0][1] > by_weight[0][0]
    assert by_weight[1][0] > by_weight[1][1]


def test_a_scale_of_zero_leaves_style_and_relevance_out():
    theta = MeanFit([source()], D - 2).fit(replace(RECIPE, style_scale=0.0, relevance_scale=0.0))

    assert (theta[-2:] == 0).all()
    assert (theta[:-2] != 0).all()


def test_given_and_asked_labels_share_neither_people_nor_exchanges():
    data = source(users=40).dataset
    asked_somewhere = np.zeros(len(data.y), np.bool_)
    for given, asked in _parts(data):
        assert given.any()
        assert not set(data.user[given]) & set(data.user[asked])
        groups = [{data.groups[i] for i in data.item[rows, 0]} for rows in (given, asked)]
        assert not groups[0] & groups[1]
        asked_somewhere |= asked

    assert asked_somewhere.all()


def test_replies_that_one_person_judged_are_not_divided_by_exchange():
    """Else most of the preferences between a person's own dialogues would be lost."""
    one = source(users=20, items=40)
    own = replace(one.dataset, item=np.arange(len(one.dataset.y))[:, None] % 40)
    once = np.unique(own.item[:, 0], return_index=True)[1]
    data = replace(own, user=own.user[once], item=own.item[once], y=own.y[once])

    assert len(list(_parts(data))) == 4


def test_every_choice_of_the_recipe_has_neighbours():
    names = [name for name, _ in RECIPE.neighbours()]

    assert len(set(names)) == len(names) == 2 * (len(RECIPE.weights) + 3) + 2
    assert all(recipe != RECIPE for _, recipe in RECIPE.neighbours())
