"""The starter prior, which answers until members have taught a prior.

It ships with the package, fitted to public judgements of other bots' replies (``simpatico fit-starter``), so
that even the first reply is ranked better than at random. It belongs to the packaged encoder. For any other
encoder one is fitted on this machine and kept (:mod:`personalization.heads.kept_starter`); until then the
plain prior answers, whose scores are all 0. When members teach a prior, the starter is the centre of its
regularisation and counts less the more labels there are (:mod:`personalization.population.fit_prior`).
Imports no storage.

``starter.LICENSE.txt``, in the same folder as the file, is the licence of the data.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from importlib.resources import files

from personalization.errors import HeadDamaged, HeadOutdated, StarterFailed
from personalization.heads.feature_space import loud_variance
from personalization.heads.heads import FeatureSpace, Prior, starter_prior
from personalization.heads.kept_starter import KeptStarter
from personalization.settings import LearningSettings

log = logging.getLogger(__name__)

FILE = "starter.safetensors"
FITTED_ON = frozenset({"convai2018", "dbdc3", "dialogue_eval", "mtbench", "ukpconvarg1"})
"""Data sets that the shipped file was fitted on; figures on the same people would prove nothing."""


def load_starter(
    features: FeatureSpace, settings: LearningSettings, kept: KeptStarter | None = None
) -> Prior:
    """Read the starter for these features; without one, log that and make the plain prior.

    Args:
        features: Features that the prior must be made for.
        settings: Standard deviations of the plain prior, and of members' thresholds.
        kept: Where a starter fitted on this machine is looked for. It goes before the one that ships.
    """
    found = find_starter(features, settings, kept)
    if found is not None:
        return found
    log.info("There is no starter prior for this encoder; a plain one answers until members teach one")
    return starter_prior(features, settings)


def find_starter(
    features: FeatureSpace, settings: LearningSettings, kept: KeptStarter | None = None
) -> Prior | None:
    """Read the starter for these features; None without a usable one. The arguments are as above."""
    found = None
    if kept is not None:
        try:
            found = kept.read()
        except StarterFailed as exc:
            log.warning("The kept starter prior is not used now: %s", exc)
    if found is None:
        try:
            found = shipped_prior(features)
        except HeadOutdated:
            return None
        except HeadDamaged as exc:
            log.warning("The starter prior that ships is not used: %s", exc)
            return None
    return configured(found, features, settings)


def configured(starter: Prior, features: FeatureSpace, settings: LearningSettings) -> Prior:
    """Return a fitted starter with what the settings decide: members' thresholds, and what may be loud."""
    loud = loud_variance(features, settings)
    return replace(starter, bias_variance=settings.bias_sd**2, loud=loud)


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
