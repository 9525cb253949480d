"""The starter prior: what answers before a server's own members have taught one.

It ships with the package, fitted to public judgements of other bots' replies (``simpatico fit-starter``), so
that the first reply on a new server is already ranked better than at random. It belongs to the packaged
encoder; for any other one the plain prior answers, which knows nothing. When a server's members teach a prior
of their own, the starter is the centre that theirs is drawn towards, and gives way as their labels grow
(:mod:`personalization.population.fit_prior`). Imports no storage.

``starter.LICENSE.txt`` beside the file is the notice of the data.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.resources import files

from personalization.errors import HeadDamaged, HeadOutdated
from personalization.heads.heads import FeatureSpace, Prior, starter_prior
from personalization.settings import LearningSettings

log = logging.getLogger(__name__)

FILE = "starter.safetensors"
FITTED_ON = "dbdc3"
"""Name of the set the shipped file was fitted on: figures on it would say nothing."""


def load_starter(features: FeatureSpace, settings: LearningSettings) -> Prior:
    """Read the prior that ships, or make the plain one where it does not fit; one log line says so.

    Args:
        features: What the prior must be made for.
        settings: Standard deviations of the plain prior, and of members' thresholds.
    """
    try:
        return replace(shipped_prior(features), bias_variance=settings.bias_sd**2)
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
        HeadOutdated: It is for other features.
        HeadDamaged: It is not there, or not what it should be.
    """
    try:
        body = (files("personalization") / FILE).read_bytes()
    except OSError as exc:
        raise HeadDamaged(
            f"expected {FILE} in the package, found {type(exc).__name__}; reinstall it"
        ) from exc
    return Prior.from_bytes(body, feature_id=features.feature_id, dim=features.dim)
