"""Fits the mean of the starter prior, and the weight of relevance, to several public sources at once.

No single source is like a new server: old chatbots, today's models and arguments differ in what makes a reply
good. So one head is fitted to the preferences of all sources, each with a weight of its own. The recipe
(weights, penalty, scales) is chosen by two measures, in which all members of a source count alike:

* *apart*: the source is left out of the fit. This is a new server.
* *unseen*: only a part of its people and of its exchanges is left out, and the other part is measured.

The cosine of message and reply is one more feature of the fit, the last one. Its weight is the weight of
relevance in the score. Called by :mod:`personalization.lab.fit_starter`; NumPy only.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from personalization.arrays import BoolArray, DoubleArray
from personalization.lab.datasets import Dataset
from personalization.lab.preference_moments import Moments, Source, gaps_of, moments_of, shares_right
from personalization.population.outcomes import platt

PEOPLE_FOLDS, GROUP_FOLDS = 4, 3
CALIBRATED_ON = 1000
"""Most preferences of one member that the scale is measured on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The choices of the fit.

    Attributes:
        weights: Weight of each source, by the name of its set; others weigh 1.
        penalty: Precision of each weight, beside the mean ``d d'`` of the sources.
        style_scale: Scale of the style features beside an embedding of length 1; the larger, the less
            penalised.
        relevance_scale: The same for relevance.
    """

    weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "dbdc3": 5.0,
            "convai2018": 2.0,
            "mtbench": 1.0,
            "dialogue_eval": 1.0,
            "ukpconvarg1": 1.0,
        }
    )
    penalty: float = 0.04
    style_scale: float = 0.17
    relevance_scale: float = 3.0

    def neighbours(self) -> Iterator[tuple[str, Recipe]]:
        """Yield recipes in which one choice is halved or doubled, each with its description."""
        for factor in (0.5, 2.0):
            for name, weight in self.weights.items():
                changed = {**self.weights, name: factor * weight}
                yield f"{name} weighs {factor * weight:g}", replace(self, weights=changed)
            for name in ("penalty", "style_scale", "relevance_scale"):
                value = factor * getattr(self, name)
                yield f"{name} {value:g}", replace(self, **{name: value})
        yield "no style", replace(self, style_scale=0.0)
        yield "no relevance", replace(self, relevance_scale=0.0)


RECIPE = Recipe()
"""The recipe of the starter that ships."""


@dataclass(frozen=True, eq=False, slots=True)
class Measured:
    """How a recipe ranks, by source: the mean over members, and its standard error.

    Attributes:
        unseen: On people and exchanges that were left out.
        apart: With the source left out.
    """

    unseen: dict[str, tuple[float, float]]
    apart: dict[str, tuple[float, float]]


class MeanFit:
    """The sources with all moments that the fit and its measures need.

    Args:
        sources: The sources.
        n_embedding: Number of leading features that are the embedding.
        progress: Called after each source.
    """

    def __init__(
        self, sources: Sequence[Source], n_embedding: int, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self._sources = {source.dataset.name: source for source in sources}
        self._n_embedding = n_embedding
        self._whole: dict[str, Moments | None] = {}
        self._parts: dict[str, list[tuple[BoolArray, Moments | None]]] = {}
        for name, source in self._sources.items():
            self._whole[name] = moments_of(source)
            self._parts[name] = [
                (asked, moments_of(source, given)) for given, asked in _parts(source.dataset)
            ]
            progress(f"read {name}")

    def fit(self, recipe: Recipe, changed: Mapping[str, Moments | None] | None = None) -> DoubleArray:
        """Fit the head.

        Args:
            recipe: The choices.
            changed: Moments that replace a source's own; None leaves the source out.

        Returns:
            Weights, that of relevance last, ``d + 1``; their scale is arbitrary.
        """
        known = {**self._whole, **(changed or {})}
        some = [(recipe.weights.get(name, 1.0), found) for name, found in known.items() if found is not None]
        total = sum(weight for weight, _ in some)
        d = next(iter(self._sources.values())).X.shape[1]
        scale = np.full(d, recipe.style_scale)
        scale[: self._n_embedding], scale[-1] = 1.0, recipe.relevance_scale
        gram = sum((weight / total * found.gram for weight, found in some), np.zeros((d, d)))
        gap = sum((weight / total * found.gap for weight, found in some), np.zeros(d))
        inner = np.linalg.solve(scale[:, None] * gram * scale + recipe.penalty * np.eye(d), scale * gap)
        return scale * inner.astype(np.float64)

    def measure(self, recipe: Recipe) -> Measured:
        """Measure a recipe on every source, with the source or parts of it left out of the fit."""
        unseen: dict[str, tuple[float, float]] = {}
        apart: dict[str, tuple[float, float]] = {}
        for name, source in self._sources.items():
            shares = [
                shares_right(source, self.fit(recipe, {name: given}), asked)
                for asked, given in self._parts[name]
            ]
            unseen[name] = _mean(np.concatenate(shares))
            apart[name] = _mean(shares_right(source, self.fit(recipe, {name: None})))
        return Measured(unseen, apart)

    def scale(self, recipe: Recipe) -> float:
        """Calibrate the head on sources that were left out: the mean of Platt's slope over them.

        The probability that the better reply of a preference wins is the logistic function of the scores'
        difference.
        """
        slopes: list[float] = []
        for name, source in self._sources.items():
            gaps = [_thinned(gap) for gap in gaps_of(source, self.fit(recipe, {name: None}))]
            weight = np.repeat([1 / len(gap) for gap in gaps], [len(gap) for gap in gaps])
            gap = np.concatenate(gaps)
            slopes.append(platt(gap, np.ones_like(gap), shift=False, weight=weight)[0])
        return max(0.0, float(np.mean(slopes)))


def _parts(dataset: Dataset) -> Iterator[tuple[BoolArray, BoolArray]]:
    """Divide the labels by people, and by exchanges where several people judge the same one.

    Yields:
        The labels that are given, and those that are asked, ``n`` bool each. They share no person, and no
        exchange.
    """
    person = np.array([_hash(user) % PEOPLE_FOLDS for user in dataset.users])[dataset.user]
    judges = {(item, user) for item, user in zip(dataset.item[:, 0], dataset.user, strict=True)}
    alone = len(judges) == len({item for item, _ in judges})
    n_groups = 1 if alone else GROUP_FOLDS
    group = np.array([_hash(name) % n_groups for name in dataset.groups])[dataset.item[:, 0]]
    for fold in range(PEOPLE_FOLDS):
        for part in range(n_groups):
            yield (person != fold) & ((group != part) | alone), (person == fold) & (group == part)


def _thinned(gap: DoubleArray) -> DoubleArray:
    """Return at most :data:`CALIBRATED_ON` of a member's gaps, evenly spaced; all of them take 2 GB."""
    return gap[:: -(-len(gap) // CALIBRATED_ON)]


def _hash(name: str) -> int:
    return hashlib.sha256(f"{name}/cv".encode()).digest()[0]


def _mean(shares: DoubleArray) -> tuple[float, float]:
    """Return the mean over members and its standard error; NaN without any."""
    n = len(shares)
    return (float(shares.mean()), float(shares.std() / n**0.5)) if n else (float("nan"), float("nan"))
