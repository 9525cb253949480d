"""Never hurt: a head speaks as far as it predicted its own member's labels better than the prior did.

Most members differ little from the population and a few differ much; which of them a member is, their own
labels tell. :mod:`personalization.solving.posterior` predicts each label from all the others, once with the
member's own taste and once with the prior's taste and an own threshold; the sum of the differences is the
evidence, with a standard error. The own taste gets as large a share of the head as the chance is that it
does predict better, on top of the trust that the population gives to heads
(:mod:`personalization.population.calibration`). When the labels speak against the own taste by a standard
error, the head is rolled back: the prior answers, with the member's own threshold. Roll-backs are counted
and recorded with the round and the member.

Back to the prior, not to an earlier head: share and head are a pure function of the prior and the labels that
stand now. An earlier head would rest on labels that may have been taken back since, and forgetting would no
longer be exact. When the labels speak for the member's taste again, the next round brings it back.

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
"""Standard errors of evidence at which the prior answers. On held-out judges of DBDC3 this and the share keep
the whole gain of heads, and more, and take off half of the harm that labels of pure noise do."""
NORMAL = 1.702
"""``sigmoid(1.702 t)`` is the normal distribution at t, to a hundredth."""
LEAST_ERROR = 0.1
"""Nats, added to the standard error: a few labels that agree by chance do not know their own error."""


def learn_heads(examples: Examples, prior: Prior, device: Device = "auto") -> tuple[HeadBank, SolveReport]:
    """Solve the head of every member, judge it, and give the own taste its share. Blocks.

    Args:
        examples: ``u`` members; one without examples gets the prior's head.
        prior: The shared prior.
        device: Where to solve.

    Returns:
        The heads, with shares (0: rolled back) and spreads, in the order of ``examples``, and the report of
        the solve.

    Raises:
        DeviceMissing: The named device is not in this machine.
        ValueError: Shapes do not fit, or a weight, label or feature is out of range.
    """
    trusted = replace(prior, calibration=None)
    indifferent = replace(trusted, factor=None, variance=np.zeros_like(prior.variance))
    own, report = solve_heads(examples, trusted, device)
    plain, _ = solve_heads(examples, indifferent, device)
    seen = look_back(examples, trusted, own, plain, device)
    t = seen.evidence / (seen.error + LEAST_ERROR)  # (u,)
    share = np.where(t < ROLLED_BACK_BELOW, 0.0, 1 / (1 + np.exp(-NORMAL * t)))
    share = share * prior.trust_at(examples.mask.sum(axis=1))
    share = share.astype(np.float16)
    part = share.astype(np.float64)
    mean = prior.mean.astype(np.float64)
    weights = mean + part[:, None] * (own.weights.astype(np.float64) - mean)  # (u, d)
    biases = plain.biases + part * (own.biases.astype(np.float64) - plain.biases)  # (u,)
    bank = HeadBank(
        weights.astype(np.float16),
        biases.astype(np.float16),
        prior.feature_id,
        prior.prior_id,
        share,
        seen.spreads,
    )
    return bank, report
