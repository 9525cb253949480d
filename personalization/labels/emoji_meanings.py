"""Learning of emoji meanings, from replies that carry both an emoji and a surer sign of the same member.

Some members laugh with 💀, others express disgust. A reply on which a member puts an emoji and also a rating
or a thumb shows what the emoji means. :func:`learn_meanings` learns from consenting members an emoji's
meaning in the population, and how much members agree on it. :func:`own_meanings` adapts that to one member's
own reactions, more strongly the less the population agrees. The tables of
:mod:`personalization.labels.labels` are the prior: without such evidence an emoji has exactly the table's
meaning. Called by :mod:`personalization.rounds`.

The model: member u means like with the share ``q_u`` of their uses of an emoji, ``q_u ~ Beta(kappa q, kappa
(1 - q))``. The population's q has the table as its prior, in pseudo-counts; kappa, the agreement, is learnt
as well. Replies without a surer sign are weak evidence: only the population's opinion of the reply is known.
So the likelihood is a mixture over liked and disliked replies.

No member's feedback can be inferred from a meaning, and no server decides it: :mod:`personalization.sharing`
says how much of each member's evidence counts. A meaning can fade, but it never gets the opposite sign of the
table's. The order of members has no effect. Pure functions; NumPy.

Source: Gelman et al. (2013), Bayesian Data Analysis, 5.3, the hierarchical beta-binomial model, on a grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from personalization.arrays import DoubleArray
from personalization.labels.labels import THUMBS, EmojiValence, Meaning
from personalization.sharing import Owner, shares

LEARNT_TRUST = 0.8
"""Trust in an emoji that occurs only with likes, or only without; near that of the hand-made table."""
ANY = ""
"""Key for all replies with a surer sign, with any emoji: their likes give the base rate."""
BASE_STRENGTH = 4.0
"""Pseudo-count of the prior that half of all replies are liked."""
TABLE_STRENGTH = 20.0
"""Pseudo-count of a fully trusted entry of a table, in uses together with a thumb."""
LEAST_STRENGTH = 4.0
"""Least pseudo-count in the trust, so that an emoji unknown to the tables takes a few uses to be trusted."""
BASE_CAP = 10.0
"""Most replies of one member that count for the base rate."""
MEMBER_CAP = 3.0
"""Most uses of one emoji that count for one member in the population."""
WEAK_CAP = 1.0
"""The same for replies without a surer sign, in uses together with a thumb."""
WEAK_TOTAL = 10.0
"""The same for all members together. A cat emoji is on replies about cats: if the population dislikes cats,
that says little about the emoji."""
MOST_LEARNT = 512
"""Most emoji that a population learns, those with the most members first."""

SHARES = (np.arange(40) + 0.5) / 40
"""Grid of q."""
AGREEMENTS = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
"""Grid of kappa."""

Sign = tuple[Sequence[str], "int | None"]
"""A member's reactions on one reply, and the rating or None."""


@dataclass(slots=True)
class Use:
    """One member's uses of one emoji.

    Attributes:
        likes: Replies with a surer sign that were liked; a rating of 4 counts as 0.75.
        n_sure: Replies with a surer sign.
        odds: For each reply without one, the log-likelihood ratio of liked to disliked, under the
            population's head.
    """

    likes: float = 0.0
    n_sure: int = 0
    odds: list[float] = field(default_factory=list[float])


def sure_sign(reactions: Sequence[str], rating: int | None, valence: EmojiValence) -> float | None:
    """Return what a rating or thumbs express, 0 (dislike) to 1 (like); None without either."""
    if rating is not None:
        return (rating - 1) / 4
    thumbs = {key for emoji in reactions if (key := valence.key_of(emoji)) in THUMBS}
    return sum((valence.valence(key) or 0.0) + 1 for key in thumbs) / 2 / len(thumbs) if thumbs else None


def uses_of(
    feedback: Iterable[Sign], valence: EmojiValence, odds: Sequence[float] | DoubleArray | None = None
) -> dict[str, Use]:
    """Count a member's uses of each emoji that is not fixed.

    Args:
        feedback: The member's feedback, reply by reply.
        valence: The tables: which emoji are fixed, and the valence of thumbs.
        odds: Log-likelihood ratio of each reply, as in :class:`Use`; None: only surer signs count.
    """
    uses: dict[str, Use] = {}
    for i, (reactions, rating) in enumerate(feedback):
        sure = sure_sign(reactions, rating, valence)
        keys = {key for emoji in reactions if not valence.is_fixed(key := valence.key_of(emoji))} - {ANY}
        for key in keys if sure is None else keys | {ANY}:
            use = uses.setdefault(key, Use())
            if sure is not None:
                use.likes, use.n_sure = use.likes + sure, use.n_sure + 1
            elif odds is not None:
                use.odds.append(float(odds[i]))
    return {key: use for key, use in uses.items() if use.n_sure or use.odds}


def own_meanings(feedback: Sequence[Sign], valence: EmojiValence) -> dict[str, Meaning]:
    """Learn what emoji mean to one member, from the population's meanings and the member's surer signs.

    A pure function of both: the mean of the Beta distribution with the population's meaning as prior, updated
    by the member's uses. Empty if the member never combined an emoji with a thumb or a rating.

    Args:
        feedback: The member's feedback, reply by reply.
        valence: The population's meanings.
    """
    if not any(len(reactions) > (rating is None) for reactions, rating in feedback):
        return {}
    uses = uses_of(feedback, valence)
    base = _base([uses.pop(ANY, Use())], math.inf)
    return {key: _moved(valence.meaning_of(key), use.likes, use.n_sure, base) for key, use in uses.items()}


def _moved(meaning: Meaning, likes: float, n: float, base: float) -> Meaning:
    kappa = meaning.agreement
    share = (kappa * (meaning.value + 1) / 2 + likes) / (kappa + n)
    trust = (kappa * meaning.trust + n * LEARNT_TRUST * _informativeness(share, base)) / (kappa + n)
    return Meaning(2 * share - 1, trust, kappa)


def _base(everything: Sequence[Use], cap: float) -> float:
    """Return the share of likes among replies with a surer sign, at most ``cap`` of each member."""
    kept = [min(1.0, cap / max(use.n_sure, 1)) for use in everything]
    likes = sorted(k * use.likes for k, use in zip(kept, everything, strict=True))
    n = sum(sorted(k * use.n_sure for k, use in zip(kept, everything, strict=True)))
    return (BASE_STRENGTH / 2 + sum(likes)) / (BASE_STRENGTH + n)


def _informativeness(share: float, base: float) -> float:
    """Return how informative an emoji is, 0 to 1: 0 if it occurs with likes at the base rate.

    If a member laughs at everything, a laugh carries no information.
    """
    return (share - base) / (1 - base) if share >= base else (base - share) / base


def learn_meanings(
    members: Iterable[Mapping[str, Use]],
    valence: EmojiValence,
    *,
    min_members: int,
    owners: Sequence[Owner] | None = None,
) -> dict[str, Meaning]:
    """Learn the meanings of emoji in a population, and how much members agree on each.

    Args:
        members: Each consenting member's uses of emoji.
        valence: The tables, which are the prior.
        min_members: Least effective number of persons with evidence for which an emoji is learnt.
        owners: The person and the server of each member; None: each a person of their own, in one server.

    Returns:
        The learnt meanings, rounded to float16, so that equal input gives equal bytes. Other emoji keep the
        table's meaning.
    """
    by_emoji: dict[str, list[tuple[Use, Owner]]] = {}
    for i, uses in enumerate(members):
        for key, use in uses.items():
            by_emoji.setdefault(key, []).append((use, owners[i] if owners else Owner()))
    base = _shared_base(by_emoji.pop(ANY, []), min_members)
    known = [(-len(uses), key) for key, uses in by_emoji.items() if len(uses) >= min_members]
    learnt: dict[str, Meaning] = {}
    for _, key in sorted(known)[:MOST_LEARNT]:
        evidence = _shared([_evidence(use) for use, _ in by_emoji[key]], by_emoji[key], min_members)
        if evidence is not None:
            learnt[key] = _learnt(evidence, valence.meaning_of(key), base)
    return learnt


def _shared_base(everything: Sequence[tuple[Use, Owner]], min_members: int) -> float:
    """Return the base rate, of which no person and no server makes up more than a part."""
    capped = [min(float(use.n_sure), BASE_CAP) for use, _ in everything]
    kept = shares(capped, [owner for _, owner in everything], most=BASE_CAP, min_members=min_members)
    if kept is None:
        return _base([], BASE_CAP)
    parts = [
        share * n / max(use.n_sure, 1) for share, n, (use, _) in zip(kept, capped, everything, strict=True)
    ]
    likes = math.fsum(part * use.likes for part, (use, _) in zip(parts, everything, strict=True))
    n = math.fsum(part * use.n_sure for part, (use, _) in zip(parts, everything, strict=True))
    return (BASE_STRENGTH / 2 + likes) / (BASE_STRENGTH + n)


def _shared(
    evidence: Sequence[_Evidence], uses: Sequence[tuple[Use, Owner]], min_members: int
) -> list[_Evidence] | None:
    """Scale the evidence by what each member may count; None if too few persons have any."""
    owners = [owner for _, owner in uses]
    kept = shares(
        [one.n_sure + one.n_weak for one in evidence], owners, most=MEMBER_CAP, min_members=min_members
    )
    if kept is None:
        return None
    return [
        _Evidence(share * one.sure, share * one.weak, share * one.n_sure, share * one.n_weak)
        for share, one in zip(kept.tolist(), evidence, strict=True)
    ]


def _learnt(evidence: Sequence[_Evidence], table: Meaning, base: float) -> Meaning:
    """Compute the posterior mean of share and agreement for one emoji, on the grid."""
    evidence = sorted(evidence, key=_content)  # order must not change the sums
    n_sure, n_weak = (float(sum(getattr(one, name) for one in evidence)) for name in ("n_sure", "n_weak"))
    n_weak = min(n_weak, WEAK_TOTAL)
    likelihood = np.array([one.sure for one in evidence])  # (u, shares)
    likelihood = np.exp(likelihood - likelihood.max(axis=1, keepdims=True))
    given = np.log(likelihood @ _DEVIATIONS.T).sum(axis=0)  # (shares * agreements,)
    strength, share = TABLE_STRENGTH * table.trust, (table.value + 1) / 2
    weak = _mean(np.sum([one.weak for one in evidence], axis=0))
    likes, dislikes = strength * share + n_weak * weak, strength * (1 - share) + n_weak * (1 - weak)
    believed = likes * np.log(SHARES) + dislikes * np.log(1 - SHARES)  # (shares,)
    log_posterior = given.reshape(len(SHARES), len(AGREEMENTS)) + believed[:, None]
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    found = float(posterior.sum(axis=1) @ SHARES)
    agreement = float(np.exp(posterior.sum(axis=0) @ np.log(AGREEMENTS)))
    n, strength = n_sure + n_weak, max(strength, LEAST_STRENGTH)
    trust = (strength * table.trust + n * LEARNT_TRUST * _informativeness(found, base)) / (strength + n)
    if table.trust and table.value * (2 * found - 1) < 0:  # faded: a known emoji never means the opposite
        found, trust = 0.5, 0.0
    return Meaning(*(float(np.float16(number)) for number in (2 * found - 1, trust, agreement)))


def _mean(log_likelihood: DoubleArray) -> float:
    weights = np.exp(log_likelihood - log_likelihood.max())
    return float(weights @ SHARES / weights.sum())


@dataclass(frozen=True, eq=False, slots=True)
class _Evidence:
    """One member's log-likelihoods of the share, on the grid, and the number of uses they count like."""

    sure: DoubleArray
    weak: DoubleArray
    n_sure: float
    n_weak: float


def _evidence(use: Use) -> _Evidence:
    sure = use.likes * np.log(SHARES) + (use.n_sure - use.likes) * np.log(1 - SHARES)
    odds = np.sort(np.array(use.odds, dtype=np.float64))[:, None]  # (n, 1)
    weak = np.logaddexp(np.log(SHARES) + odds, np.log(1 - SHARES)).sum(axis=0)
    n_weak = float((np.tanh(odds / 2) ** 2).sum())  # Fisher information at q = 1/2, relative to a sure sign
    kept, kept_weak = MEMBER_CAP / max(use.n_sure, MEMBER_CAP), WEAK_CAP / max(n_weak, WEAK_CAP)
    return _Evidence(kept * sure, kept_weak * weak, kept * use.n_sure, kept_weak * n_weak)


def _content(evidence: _Evidence) -> tuple[bytes, bytes]:
    return evidence.sure.tobytes(), evidence.weak.tobytes()


def _deviations() -> DoubleArray:
    """Return the Beta density of members' shares for each (q, kappa): ``shares * agreements x shares``."""
    q, kappa = (part.ravel()[:, None] for part in np.meshgrid(SHARES, AGREEMENTS, indexing="ij"))
    density = (kappa * q - 1) * np.log(SHARES) + (kappa * (1 - q) - 1) * np.log(1 - SHARES)
    density = np.exp(density - density.max(axis=1, keepdims=True))
    return density / density.sum(axis=1, keepdims=True)


_DEVIATIONS = _deviations()
