"""Gate on heads: weights a member's own taste by how well it predicts that member's labels.

Most members differ little from the population and a few differ much. A member's own labels show which kind
the member is. :mod:`personalization.solving.posterior` predicts each label from all the others, once with
the member's own taste and once with the prior's taste and the member's own threshold. The sum of the
differences is the evidence; it has a standard error. The share of the own taste in the head is the
probability that it predicts better, times the trust that the population gives to heads
(:mod:`personalization.population.calibration`). If the evidence is negative by a standard error, the head
is rolled back: the prior answers, with the member's own threshold. Roll-backs are counted, and recorded
with the round and the member.

A head rolls back to the prior and not to an earlier head, so that share and head are a pure function of the
prior and the current labels. An earlier head could rest on labels that were taken back since, and
forgetting would no longer be exact. When the evidence turns positive again, the next round restores the own
taste.

What is loud in a member's taste (:mod:`personalization.solving.loud_tastes`) passes the gate unweighted.
Its own posterior includes the hypothesis that nothing is loud, and it does no harm on labels of pure noise.

Called by :mod:`personalization.rounds.trainer` in a worker process, by the evaluation and the calibration.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from personalization.heads.heads import HeadBank, Prior
from personalization.settings import Device
from personalization.solving.posterior import look_back
from personalization.solving.training import Examples, SolveReport, solve_heads

LearnHeads = Callable[[Examples, Prior, Device], tuple[HeadBank, SolveReport]]
""":func:`learn_heads`, or :func:`personalization.solving.training.solve_heads` for heads without a gate."""

ROLLED_BACK_BELOW = -1.0
"""Evidence, in standard errors, below which the prior answers. On held-out judges of DBDC3, this bound and
the share keep more than the whole gain of heads, and halve the harm that labels of pure noise do."""
NORMAL = 1.702
"""``sigmoid(1.702 t)`` equals the normal distribution function at t to a hundredth."""
LEAST_ERROR = 0.1
"""Nats, added to the standard error, which a few labels that agree by chance underestimate."""


def learn_heads(examples: Examples, prior: Prior, device: Device = "auto") -> tuple[HeadBank, SolveReport]:
    """Solve the head of every member, judge it, and weight the own taste by its share. Blocks.

    Args:
        examples: ``u`` members; a member without examples gets the prior's head.
        prior: The shared prior.
        device: Where to solve.

    Returns:
        The heads, with shares (0: rolled back) and spreads, in the order of ``examples``, and the report of
        the solve.

    Raises:
        DeviceMissing: This machine does not have the named device.
        ValueError: Shapes do not fit, or a weight, label or feature is out of range.
    """
    trusted = replace(prior, calibration=None)
    indifferent = replace(trusted, factor=None, variance=np.zeros_like(prior.variance), loud=None)
    plain, report = solve_heads(examples, indifferent, device)
    own = None
    if not len(prior.loud_features()):
        own, report = solve_heads(examples, trusted, device)
    seen = look_back(examples, trusted, own, plain, device)
    t = seen.evidence / (seen.error + LEAST_ERROR)  # (u,)
    share = np.where(t < ROLLED_BACK_BELOW, 0.0, 1 / (1 + np.exp(-NORMAL * t)))
    share = share * prior.trust_at(examples.mask.sum(axis=1))
    share = share.astype(np.float16)
    part = share.astype(np.float64)
    mean = prior.mean.astype(np.float64)
    of = seen.loud or own
    assert of is not None
    weights = mean + part[:, None] * (of.weights.astype(np.float64) - mean)  # (u, d)
    biases = plain.biases + part * (of.biases.astype(np.float64) - plain.biases)  # (u,)
    if seen.loud is not None:
        weights[:, prior.loud_features()] += seen.loud.mean
        # The plain threshold belongs to weights without loud ones, so it moves against what these add.
        biases -= (1 - part) * (seen.loud.mean * seen.loud.centre).sum(axis=1)
    bank = HeadBank(
        weights.astype(np.float16),
        biases.astype(np.float16),
        prior.feature_id,
        prior.prior_id,
        share,
        seen.spreads,
    )
    return bank, report
