"""The starter prior, which answers until members have taught a prior.

It ships with the package, fitted to public judgements of other bots' replies (``simpatico fit-starter``), so
that even the first reply is ranked better than at random. It belongs to the packaged encoder; with any other
encoder the plain prior answers, whose scores are all 0. When members teach a prior, the starter is the centre
of its regularisation and counts less the more labels there are (:mod:`personalization.population.fit_prior`).
Imports no storage.

``starter.LICENSE.txt``, in the same folder as the file, is the licence of the data.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.resources import files

from personalization.errors import HeadDamaged, HeadOutdated
from personalization.heads.feature_space import loud_variance
from personalization.heads.heads import FeatureSpace, Prior, starter_prior
from personalization.settings import LearningSettings

log = logging.getLogger(__name__)

FILE = "starter.safetensors"
FITTED_ON = frozenset({"convai2018", "dbdc3", "dialogue_eval", "mtbench", "ukpconvarg1"})
"""Data sets that the shipped file was fitted on; figures on the same people would prove nothing."""


def load_starter(features: FeatureSpace, settings: LearningSettings) -> Prior:
    """Read the prior that ships; if it is unusable, log that and make the plain one.

    Args:
        features: Features that the prior must be made for.
        settings: Standard deviations of the plain prior, and of members' thresholds.
    """
    try:
        shipped = shipped_prior(features)
        loud = loud_variance(features, settings)
        return replace(shipped, bias_variance=settings.bias_sd**2, loud=loud)
    except HeadOutdated:
        log.info(
            "The starter prior that ships is for another encoder; a plain one answers until members teach one"
        )
    except HeadDamaged as exc:
        log.warning("The starter prior that ships is not used, a plain one answers: %s", exc)
    return starter_prior(features, settings)


def shipped_prior(features: FeatureSpace) -> Prior:
    """Read the prior that ships.

    Raises:
        HeadOutdated: The prior is for other features.
        HeadDamaged: The file is missing or damaged.
    """
    try:
        body = (files("personalization") / FILE).read_bytes()
    except OSError as exc:
        raise HeadDamaged(
            f"expected {FILE} in the package, found {type(exc).__name__}; reinstall it"
        ) from exc
    return Prior.from_bytes(body, feature_id=features.feature_id, dim=features.dim)
