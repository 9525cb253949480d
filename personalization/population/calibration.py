"""Trust in heads and calibration of their scores, learnt from held-out members.

Trust is the share of a head that is used: 0 where heads do not help members whom the prior has not seen.
Calibration turns scores into probabilities, by a slope and a shift for each bucket of the number of labels.
Every member is held out once, in four folds. Called by :mod:`personalization.population.fit_prior`, and by
the evaluation for its baselines; NumPy on top of :mod:`personalization.solving.training`.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from personalization.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from personalization.heads.heads import N_BUCKETS, HeadBank, Prior
from personalization.population.outcomes import Outcome, platt_chain, together, wrong_share
from personalization.population.pooled import Pool, Teacher, only
from personalization.score_quality import clustered_mean, log_loss
from personalization.settings import Device
from personalization.solving.gate import LearnHeads, learn_heads
from personalization.solving.training import Examples

MEMBERS_TO_VALIDATE = 40
"""With fewer members asked, trust in heads is not chosen anew."""
MEMBERS_TO_ASK_LESS = 200
"""With fewer members the held-out ones are asked about half of their exchanges instead of a quarter. Where
members share exchanges, :data:`MEMBERS_TO_VALIDATE` holds instead."""
LEAST_MEMBERS = 4
"""With fewer members none is held out, and nothing of the starter is replaced."""
LEAST_ASKED = 4
"""Least number of members who are asked after the same number of labels."""
FOLDS = 4
LABELS_OF_A_PERSON = 8.0
"""Most labels that a person counts like in calibration: their threshold is in all of them."""
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
VALIDATED_K = (0, 2, 4, 8, 15, 30, 60)
"""Numbers of labels given to a held-out member's head, one for each bucket of the number of labels."""


@dataclass(frozen=True, eq=False, slots=True)
class Fold:
    """One split into training members and held-out members.

    Attributes:
        first: Number of the first held-out member; no two folds share a number.
        taught: Members and labels that the prior is learnt from.
        asking: Held-out members, whose heads are tested.
        asked: Labels that heads are tested on, ``n`` bool.
        whole: Whether heads of no labels are tested on all labels of the held-out members, because those
            exchanges are not taught either.
        least_members: Least number of held-out members with enough labels.
        least_queries: Least number of labels that a held-out member is asked about.
    """

    first: int
    taught: list[Teacher]
    asking: list[Teacher]
    asked: BoolArray
    whole: bool = False
    least_members: int = LEAST_ASKED
    least_queries: int = 3


def folds(pool: Pool, members: Sequence[Teacher]) -> list[Fold]:
    """Hold every member out once, together with the exchanges that the member is tested on.

    Returns:
        The folds; empty with too few members, or if a fold has no training labels.
    """
    if len(members) < LEAST_MEMBERS:
        return []
    exchange = np.zeros(len(pool.y), np.int64)  # (n,)
    if pool.group is not None:
        exchange = np.unique(pool.group, return_inverse=True)[1]
    else:  # in the order of members' contents, so that the order of the pool has no effect
        rows = np.concatenate([member.rows for member in members])
        exchange[rows] = np.arange(len(rows))
    # Exchanges that many members rated are lost to the fold when one of them is asked.
    enough = MEMBERS_TO_ASK_LESS if pool.group is None else MEMBERS_TO_VALIDATE
    n_parts = 1 if len(members) >= enough else FOLDS // 2
    made = [_fold(fold, members, exchange, n_parts) for fold in range(FOLDS)]
    if len(members) < MEMBERS_TO_VALIDATE:
        whole = [_fold(fold, members, exchange, FOLDS) for fold in range(FOLDS)]
        n_taught, n_whole = (
            sum(len(one.rows) for fold in some for one in fold.taught) for some in (made, whole)
        )
        if 2 * n_whole >= n_taught:
            parts = zip(made, whole, strict=True)
            made = [replace(half, taught=all_.taught, whole=True) for half, all_ in parts]
    return made if all(fold.taught for fold in made) else []


def _fold(fold: int, members: Sequence[Teacher], exchange: IntArray, n_parts: int) -> Fold:
    """Hold out every fourth member, and the exchanges that they are asked about: a part of theirs."""
    asked = (exchange - fold) % FOLDS < n_parts
    asking = list(members[fold::FOLDS])
    theirs = np.zeros(exchange.max(initial=0) + 1, np.bool_)
    for member in asking:
        theirs[exchange[member.rows[asked[member.rows]]]] = True
    others = [member for i, member in enumerate(members) if i % FOLDS != fold]
    taught = only(others, ~theirs[exchange])
    # Of one fold alone little is asked: all folds together must have enough members.
    return Fold(fold * len(members), taught, asking, asked, least_members=1, least_queries=2)


def calibrate(
    pool: Pool,
    members: Sequence[Teacher],
    learn: Callable[[Sequence[Teacher]], Prior],
    device: Device,
    heads: LearnHeads = learn_heads,
) -> FloatArray | None:
    """Find one trust, and slope and shift for every bucket, under a prior learnt on each fold.

    All buckets share one trust. The prior already keeps heads of few labels small, and a trust for each
    bucket would follow the few members who gave that many labels.

    Args:
        pool: The labels of all members.
        members: The members of the pool.
        learn: Learns a prior from some members.
        device: Where to solve.
        heads: Solves heads under a prior.

    Returns:
        The table of :class:`Prior`, ``7 x 3`` float32; None with too few members to hold any out.

    Raises:
        DeviceMissing: This machine does not have the named device.
    """
    validated = folds(pool, members)
    if not validated:
        return None
    priors = [learn(fold.taught) for fold in validated]
    return _table(asked_by_k(pool, validated, priors, device, heads), None)


def calibrate_with_threshold(
    pool: Pool,
    validated: Sequence[Fold],
    priors: Sequence[Prior],
    device: Device,
    *,
    wide: float,
    anchor: FloatArray | None,
) -> tuple[FloatArray, bool]:
    """Calibrate as :func:`calibrate` does, and choose between the learnt and a wider threshold.

    Graded labels scatter less than a yes or no would. So a likelihood of yes and no underestimates how much
    members differ, and their thresholds follow too slowly. The log loss of the held-out yes and no decides;
    the order of replies plays no part.

    Args:
        pool: The labels of all members.
        validated: The folds.
        priors: The prior of each fold.
        device: Where to solve.
        wide: Variance of the threshold to try instead of the learnt one, > 0.
        anchor: Table that stands where few people were asked; None: (1, 1, 0).

    Returns:
        The table of :class:`Prior`, and whether the wide threshold is better.

    Raises:
        DeviceMissing: This machine does not have the named device.
    """
    found: list[tuple[float, FloatArray]] = []
    for tried in (priors, [replace(prior, bias_variance=wide) for prior in priors]):
        by_k = asked_by_k(pool, validated, tried, device, learn_heads)
        table = _table(by_k, anchor)
        found.append((_loss(by_k, table), table))
    widened = found[1][0] < found[0][0]
    return found[widened][1], widened


def asked_by_k(
    pool: Pool, validated: Sequence[Fold], priors: Sequence[Prior], device: Device, heads: LearnHeads
) -> list[Outcome | None]:
    """Test heads of k labels under the prior of each fold, for each k of :data:`VALIDATED_K`.

    Returns:
        The outcomes of all folds; None where fewer than :data:`LEAST_ASKED` members gave k labels.
    """
    by_k: list[Outcome | None] = []
    for k in VALIDATED_K:
        parts = [
            held_out(pool, fold, lambda given, prior=prior: heads(given, prior, device)[0], k, prior.mean)
            for fold, prior in zip(validated, priors, strict=True)
        ]
        outcome = together([part for part in parts if part is not None])
        enough = outcome is not None and len(np.unique(outcome.member)) >= LEAST_ASKED
        by_k.append(outcome if enough else None)
    return by_k


def _table(by_k: Sequence[Outcome | None], anchor: FloatArray | None) -> FloatArray:
    """Fit the table of :class:`Prior`: one trust for all buckets, slope and shift for each."""
    known = [outcome for outcome in by_k if outcome is not None]
    table = (
        np.tile(np.array([1.0, 1.0, 0.0]), (N_BUCKETS, 1)) if anchor is None else anchor.astype(np.float64)
    )
    if any(len(np.unique(outcome.member)) >= MEMBERS_TO_VALIDATE for outcome in known):
        table[:, 0] = choose_trust([outcome for outcome in by_k[1:] if outcome is not None])
    trust = float(table[-1, 0])
    pairs = bool(known) and all(bool(outcome.pairwise.all()) for outcome in known)
    parts = [
        None if outcome is None else (outcome.scores(trust), outcome.outcome, _by_person(outcome))
        for outcome in by_k
    ]
    table[:, 1:] = platt_chain(parts, table[:, 1:], shift=not pairs)
    return table.astype(np.float16).astype(np.float32)


def _by_person(outcome: Outcome) -> DoubleArray:
    """Return the weight of each label: no person counts more than :data:`LABELS_OF_A_PERSON`, ``n``."""
    _, index, n_own = np.unique(outcome.member, return_inverse=True, return_counts=True)
    return outcome.share * np.minimum(1.0, LABELS_OF_A_PERSON / n_own)[index]


def _loss(by_k: Sequence[Outcome | None], table: FloatArray) -> float:
    """Return the mean log loss of the calibrated probabilities; each number of labels counts equally."""
    losses: list[float] = []
    for bucket, outcome in enumerate(by_k):
        if outcome is not None:
            trust, slope, shift = (float(table[bucket, i]) for i in range(3))
            scores = slope * outcome.scores(trust) + shift
            losses.append(log_loss(1 / (1 + np.exp(-scores)), outcome.outcome))
    return float(np.mean(losses)) if losses else 0.0


def held_out(
    pool: Pool, fold: Fold, solve: Callable[[Examples], HeadBank], k: int, mean: FloatArray | None = None
) -> Outcome | None:
    """Solve a head from k labels of each asked member, and score the member's labels of other exchanges.

    Args:
        pool: The labels of all members.
        fold: The members asked, and the labels they are asked about.
        solve: Solves the heads.
        k: Labels given to each head.
        mean: Weights of ``base``, ``d``; None: zero.

    Returns:
        The scores; None if too few members gave enough labels.
    """
    given: list[tuple[int, IntArray, IntArray]] = []
    for i, member in enumerate(fold.asking):
        rows = np.random.default_rng(i).permutation(member.rows)
        own, query = rows[~fold.asked[rows]], rows[fold.asked[rows]]
        if fold.whole and not k:
            query = rows
        if len(own) >= k and len(query) >= fold.least_queries:
            given.append((fold.first + i, own[:k], query))
    if len(given) < fold.least_members:
        return None
    pairs = np.zeros(len(pool.y), bool) if pool.pairwise is None else pool.pairwise
    u = len(given)
    taken = np.array([own for _, own, _ in given], dtype=np.int64).reshape(u, k)
    mask = np.ones((u, k), bool)
    bank = solve(Examples(pool.X[taken], pool.y[taken], pool.weight[taken], mask, pairs[taken]))
    query = np.concatenate([rows for _, _, rows in given])
    sizes = [len(rows) for _, _, rows in given]
    owner = np.repeat(np.arange(u), sizes)
    scores = np.einsum("nd,nd->n", pool.X[query], bank.weights.astype(np.float64)[owner])
    base = np.zeros(len(query)) if mean is None else pool.X[query] @ mean.astype(np.float64)
    return Outcome(
        base=base,
        own=scores - base,
        biases=np.where(pairs[query], 0.0, bank.biases.astype(np.float64)[owner]),
        y=pool.y[query].astype(np.float64),
        outcome=(pool.y if pool.outcome is None else pool.outcome)[query].astype(np.float64),
        member=np.repeat([who for who, _, _ in given], sizes),
        pairwise=pairs[query],
        share=np.repeat([fold.asking[who - fold.first].share for who, _, _ in given], sizes),
    )


def choose_trust(outcomes: Sequence[Outcome]) -> float:
    """Choose the trust: the largest that ranks worse than the best one by at most a standard error.

    The criterion is the share of a member's pairs of differently labelled replies in the wrong order. A
    logistic loss would prefer small heads even where the order is right, because members' scores differ in
    scale.

    Source: Breiman et al. (1984), Classification and regression trees, 3.4.3, for the rule of one standard
    error. We apply it towards larger heads, because the model already shrinks heads by the evidence.
    """
    if not outcomes:
        return 1.0
    member = np.concatenate([np.unique(outcome.member) for outcome in outcomes])
    errors = [
        np.concatenate([wrong_share(outcome.base + trust * outcome.own, outcome) for outcome in outcomes])
        for trust in TRUSTS
    ]
    known = ~np.isnan(errors[0])
    if not known.any():
        return 1.0
    best = int(np.argmin([error[known].mean() for error in errors]))
    for trust, error in reversed(list(zip(TRUSTS, errors, strict=True))[best:]):
        worse, se = clustered_mean((error - errors[best])[known], member[known])
        if worse <= se:
            return trust
    return TRUSTS[best]
