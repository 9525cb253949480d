"""How far heads can be trusted, and what their scores are worth, learnt from members who were held out.

Where heads do not help people whom the prior has not seen, the prior keeps the word; and what a head of few
labels says is damped into an honest probability. Every member is held out once, in four folds. Used by
:mod:`personalization.population.fit_prior` and by the evaluation for its baselines; NumPy on top of
:mod:`personalization.solving.training`.

Source: Platt (1999), Probabilistic outputs for support vector machines, with one slope and shift for each
bucket of the number of labels.
"""

# Matrices are capital here, as in the sources.
# pyright: reportConstantRedefinition=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from personalization.arrays import BoolArray, DoubleArray, FloatArray, IntArray
from personalization.heads.heads import N_BUCKETS, HeadBank, Prior
from personalization.population.pooled import Pool, Teacher, only
from personalization.score_quality import clustered_mean, log_loss
from personalization.settings import Device
from personalization.solving.gate import LearnHeads, learn_heads
from personalization.solving.training import Examples

MEMBERS_TO_VALIDATE = 40
"""With fewer members nothing is held out, and heads are trusted fully."""
FOLDS = 4
SLOPES = tuple(2.0 ** (i / 2) for i in range(-6, 13))
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
VALIDATED_K = (0, 2, 4, 8, 15, 30, 60)
"""Labels given to a held-out member's head, one size for each bucket of the number of labels."""


@dataclass(frozen=True, eq=False, slots=True)
class Fold:
    """One way to hold out: who teaches with which labels, who is asked, and about which labels (``n``).

    ``first`` numbers the asked members, so that nobody has the same number in another fold.
    """

    first: int
    taught: list[Teacher]
    asking: list[Teacher]
    asked: BoolArray


def folds(pool: Pool, members: Sequence[Teacher]) -> list[Fold]:
    """Hold every member out once; neither they nor the exchanges they are asked about have taught.

    Returns:
        None at all when there are too few members, or a fold would teach nothing.
    """
    if len(members) < MEMBERS_TO_VALIDATE:
        return []
    group = np.arange(len(pool.y)) if pool.group is None else pool.group
    part = np.unique(group, return_inverse=True)[1] % FOLDS  # (n,)
    made: list[Fold] = []
    for fold in range(FOLDS):
        taught = only([member for i, member in enumerate(members) if i % FOLDS != fold], part != fold)
        made.append(Fold(fold * len(members), taught, list(members[fold::FOLDS]), part == fold))
    return made if all(fold.taught for fold in made) else []


def calibrate(
    pool: Pool,
    members: Sequence[Teacher],
    learn: Callable[[Sequence[Teacher]], Prior],
    device: Device,
    heads: LearnHeads = learn_heads,
) -> FloatArray | None:
    """Find one trust, and slope and shift for every bucket, by priors that are learnt for it on each fold.

    One trust for all: that heads of few labels move little is the prior's own doing; a trust for each bucket
    follows the few members who gave that many.

    Args:
        pool: Everybody's labels.
        members: Who gave them.
        learn: Makes a prior from some of them.
        device: Where to solve.
        heads: Makes heads under a prior.

    Returns:
        As in :class:`Prior`; None with too few members to hold any out.
    """
    validated = folds(pool, members)
    if not validated:
        return None
    priors = [learn(fold.taught) for fold in validated]
    return _table(_asked(pool, validated, priors, device, heads))


def calibrate_with_threshold(
    pool: Pool,
    members: Sequence[Teacher],
    learn: Callable[[Sequence[Teacher]], Prior],
    device: Device,
    wide: float,
) -> tuple[FloatArray, bool] | None:
    """The same, and whether members' thresholds differ more than the labels say.

    Graded labels scatter less than a yes or no would, so a likelihood of yes and no finds that members differ
    less than they do, and their thresholds follow too slowly. What says so is how probable the held-out yes
    and no are; order has no part in it.

    Args:
        pool: As above.
        members: As above.
        learn: As above.
        device: As above.
        wide: Variance of the threshold to try in place of the learnt one.

    Returns:
        The table, and whether the wide threshold is the better one; None with too few members.
    """
    validated = folds(pool, members)
    if not validated:
        return None
    priors = [learn(fold.taught) for fold in validated]
    found: list[tuple[float, FloatArray]] = []
    for tried in (priors, [replace(prior, bias_variance=wide) for prior in priors]):
        by_k = _asked(pool, validated, tried, device, learn_heads)
        table = _table(by_k)
        found.append((_loss(by_k, table), table))
    widened = found[1][0] < found[0][0]
    return found[widened][1], widened


def _asked(
    pool: Pool, validated: Sequence[Fold], priors: Sequence[Prior], device: Device, heads: LearnHeads
) -> list[Outcome | None]:
    """What heads of k labels say under the prior of each fold, for each k."""
    by_k: list[Outcome | None] = []
    for k in VALIDATED_K:
        parts = [
            held_out(pool, fold, lambda given, prior=prior: heads(given, prior, device)[0], k, prior.mean)
            for fold, prior in zip(validated, priors, strict=True)
        ]
        by_k.append(together([part for part in parts if part is not None]))
    return by_k


def _table(by_k: Sequence[Outcome | None]) -> FloatArray:
    """One trust for all, and slope and shift for every bucket, as in :class:`Prior`."""
    trust = choose_trust([outcome for outcome in by_k[1:] if outcome is not None])
    table = np.tile(np.array([trust, 1.0, 0.0], dtype=np.float32), (N_BUCKETS, 1))
    for bucket, outcome in enumerate(by_k):
        if outcome is None:  # too few gave as many: as for the bucket before
            table[bucket] = table[max(bucket - 1, 0)]
            continue
        table[bucket, 1:] = platt(outcome.scores(trust), outcome.outcome, shift=not outcome.pairwise.all())
    return table.astype(np.float16).astype(np.float32)


def _loss(by_k: Sequence[Outcome | None], table: FloatArray) -> float:
    """Mean log loss of the calibrated probabilities, each number of labels counting alike."""
    losses: list[float] = []
    for bucket, outcome in enumerate(by_k):
        if outcome is not None:
            trust, slope, shift = (float(table[bucket, i]) for i in range(3))
            scores = slope * outcome.scores(trust) + shift
            losses.append(log_loss(1 / (1 + np.exp(-scores)), outcome.outcome))
    return float(np.mean(losses)) if losses else 0.0


@dataclass(frozen=True, eq=False, slots=True)
class Outcome:
    """What heads of k labels say about other labels of the same members; everything by label, ``n``.

    Attributes:
        base: Score by the mean of the prior, without the intercept.
        own: What the head adds to it.
        biases: The head's intercept; 0 for pairs.
        y: Label values.
        outcome: What probabilities are calibrated to.
        member: Whose label it is; labels of a member stand together.
        pairwise: Whether it compares two replies.
    """

    base: DoubleArray
    own: DoubleArray
    biases: DoubleArray
    y: DoubleArray
    outcome: DoubleArray
    member: IntArray
    pairwise: BoolArray

    def scores(self, trust: float) -> DoubleArray:
        """What heads say that are trusted so far, before slope and shift, ``n``."""
        return self.base + trust * self.own + self.biases


def together(parts: Sequence[Outcome]) -> Outcome | None:
    """Put outcomes of different members one after the other; None for none."""
    if not parts:
        return None
    names = [field.name for field in fields(Outcome)]
    return Outcome(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def held_out(
    pool: Pool, fold: Fold, solve: Callable[[Examples], HeadBank], k: int, mean: FloatArray | None = None
) -> Outcome | None:
    """Give the head of each asked member k of their labels, and ask it about labels of other exchanges.

    Args:
        pool: Everybody's labels.
        fold: Who is asked about what.
        solve: Makes the heads.
        k: Labels given.
        mean: Weights that count as ``base``, ``d``; None: zero.

    Returns:
        What the heads said; None when hardly anybody gave enough labels.
    """
    given: list[tuple[int, IntArray, IntArray]] = []
    for i, member in enumerate(fold.asking):
        rows = np.random.default_rng(i).permutation(member.rows)
        own, query = rows[~fold.asked[rows]], rows[fold.asked[rows]]
        if len(own) >= k and len(query) >= 3:
            given.append((fold.first + i, own[:k], query))
    if len(given) < MEMBERS_TO_VALIDATE // 10:
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
    )


def choose_trust(outcomes: Sequence[Outcome]) -> float:
    """Choose how much of heads to use: the most that ranks no worse than the best does, by a standard error.

    The share of a member's differently labelled replies that stand in the wrong order decides. A logistic
    loss would ask for small heads, since members' scores are of different scale, though their order is right.

    Source: Breiman et al. (1984), Classification and regression trees, 3.4.3, for the rule of one standard
    error; here towards the model, which already shrinks heads by the evidence.
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


def wrong_share(scores: DoubleArray, asked: Outcome) -> DoubleArray:
    """Share of each member's pairs in the wrong order, by ascending number of the member; NaN without any."""
    gaps = _gaps(scores, asked)
    return np.array([np.where(gap == 0, 0.5, gap < 0).mean() if len(gap) else np.nan for gap in gaps])


def rank_loss(scores: DoubleArray, asked: Outcome) -> float:
    """Mean over members of the logistic loss over their pairs of different labels: a smooth concordance.

    At the slope that suits the scores best: loudness does not win. For penalties on the one mean that all
    share; smooth, so that chance has less of a say.

    Args:
        scores: ``n``; for pairs the difference of the two.
        asked: The labels.
    """
    gaps = [gap for gap in _gaps(scores, asked) if len(gap)]
    if not gaps:
        return 0.0
    gap = np.concatenate(gaps)
    share = np.concatenate([np.full(len(part), 1 / (len(part) * len(gaps))) for part in gaps])
    return min(float(share @ np.logaddexp(0, -slope * gap)) for slope in SLOPES)


def _gaps(scores: DoubleArray, asked: Outcome) -> list[DoubleArray]:
    """How far the better of two replies is ahead, for all pairs of each member's different labels.

    A member's labels are all of one kind, or the pairs are left out.
    """
    gaps: list[DoubleArray] = []
    for rows in np.split(np.arange(len(scores)), np.flatnonzero(np.diff(asked.member)) + 1):
        pairs = asked.pairwise[rows]
        if pairs.all():
            gaps.append(scores[rows] * np.sign(asked.y[rows] - 0.5))
        else:
            s, y = scores[rows][~pairs], asked.y[rows][~pairs]
            gaps.append((s[:, None] - s[None, :])[y[:, None] > y[None, :]])
    return gaps


def platt(s: DoubleArray, y: DoubleArray, *, shift: bool) -> tuple[float, float]:
    """Slope and shift of ``sigmoid(slope s + shift)`` that fit the labels best; a slight pull to (1, 0)."""
    A = np.stack([s, np.full_like(s, float(shift))], axis=1)  # (n, 2)
    theta = np.array([1.0, 0.0])
    # Not personalization.solving.newton.maximise: the two unknowns stay near their start, so clipping
    # a step at 1 damps it well enough, and the objective need not be evaluated.
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(A @ theta, -40, 40)))
        gradient = A.T @ (y - p) - (theta - [1.0, 0.0])
        step = np.linalg.solve((A * (p * (1 - p))[:, None]).T @ A + np.eye(2), gradient)
        theta = theta + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return float(theta[0]), float(theta[1])
