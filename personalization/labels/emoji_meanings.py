"""What emoji mean, learnt from those who give an emoji and a surer sign on the same reply.

Some members laugh with 💀, some are disgusted by it. Where a member puts an emoji on a reply that they also
rated or gave a thumb, the emoji's meaning shows. :func:`learn_meanings` learns from consenting members what
an emoji says in the population, and how much members agree on it; :func:`own_meanings` moves that to what
one member's own reactions say, the more, the less the others agree. The tables of
:mod:`personalization.labels.labels` are the prior of it all: with no such evidence an emoji means exactly
what they say.

The model: member u means like with the share ``q_u`` of their uses of an emoji, ``q_u ~ Beta(kappa q, kappa
(1 - q))``; the population's q has the table as its prior, in pseudo-counts, and kappa, the agreement, is
learnt along. Replies without a surer sign are weak evidence: the emoji stands on a reply that the population
tends to like or not, so its likelihood is a mixture of what is known of liked and of disliked replies.

Nobody can be read out of it: no member counts more than a cap for one emoji, and an emoji is learnt only from
a minimal number of members. It does not depend on the order of members. Pure functions; NumPy.

Source: Gelman et al. (2013), Bayesian Data Analysis, 5.3, the hierarchical beta-binomial model, on a grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from personalization.arrays import DoubleArray
from personalization.labels.labels import THUMBS, EmojiValence, Meaning

LEARNT_TRUST = 0.8
"""Trust in an emoji that only ever goes with likes, or never does; the hand-made table trusts about alike."""
ANY = ""
"""Stands for all replies with a surer sign, whatever emoji they have: how much is liked at all."""
BASE_STRENGTH = 4.0
"""Replies that the belief counts like that half of everything is liked."""
TABLE_STRENGTH = 20.0
"""Uses beside a thumb that a fully trusted entry of a table counts like; an unknown emoji has no opinion to
begin with, but it takes a few uses to be trusted."""
LEAST_STRENGTH = 4.0
BASE_CAP = 10.0
MEMBER_CAP = 3.0
"""Uses of one emoji that a member counts with in the population, at most."""
WEAK_CAP = 1.0
"""The same for replies without a surer sign, in uses beside a thumb."""
WEAK_TOTAL = 10.0
"""All members together count so much by replies without a surer sign, at most: a cat emoji stands on replies
about cats, and if the population does not care for cats, that is no fault of the emoji's."""
MOST_LEARNT = 512
"""Emoji that a population learns, those of the most members."""

SHARES = (np.arange(40) + 0.5) / 40
"""Grid of q."""
AGREEMENTS = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
"""Grid of kappa."""

Sign = tuple[Sequence[str], "int | None"]
"""The reactions that a member has on one reply, and the rating."""


@dataclass(slots=True)
class Use:
    """How one member uses one emoji.

    Attributes:
        likes: How many of the replies with a surer sign it said were liked; a rating of 4 is 0.75 of one.
        n_sure: Replies with a surer sign.
        odds: For each reply without one, how much better the population's head goes with a liked reply than
            with a disliked one: log-likelihood ratios.
    """

    likes: float = 0.0
    n_sure: int = 0
    odds: list[float] = field(default_factory=list[float])


def sure_sign(reactions: Sequence[str], rating: int | None, valence: EmojiValence) -> float | None:
    """Read what a rating or thumbs say, 0 (dislike) to 1 (like); None without either."""
    if rating is not None:
        return (rating - 1) / 4
    thumbs = {key for emoji in reactions if (key := valence.key_of(emoji)) in THUMBS}
    return sum((valence.valence(key) or 0.0) + 1 for key in thumbs) / 2 / len(thumbs) if thumbs else None


def uses_of(
    told: Iterable[Sign], valence: EmojiValence, odds: Sequence[float] | DoubleArray | None = None
) -> dict[str, Use]:
    """Count how a member uses each emoji that is not fixed.

    Args:
        told: The member's feedback, reply by reply.
        valence: Which emoji are fixed, and what thumbs say.
        odds: For each reply the log-likelihood ratio of :class:`Use`; None: only surer signs count.
    """
    uses: dict[str, Use] = {}
    for i, (reactions, rating) in enumerate(told):
        sure = sure_sign(reactions, rating, valence)
        keys = {key for emoji in reactions if not valence.is_fixed(key := valence.key_of(emoji))} - {ANY}
        for key in keys if sure is None else keys | {ANY}:
            use = uses.setdefault(key, Use())
            if sure is not None:
                use.likes, use.n_sure = use.likes + sure, use.n_sure + 1
            elif odds is not None:
                use.odds.append(float(odds[i]))
    return {key: use for key, use in uses.items() if use.n_sure or use.odds}


def own_meanings(told: Sequence[Sign], valence: EmojiValence) -> dict[str, Meaning]:
    """Learn what emoji mean to one member, from what the population says and their own surer signs.

    A pure function of both: the mean of the Beta distribution that the population gives and the member's
    uses sharpen. Empty when the member never gave an emoji beside a thumb or a rating.
    """
    if not any(len(reactions) > (rating is None) for reactions, rating in told):
        return {}
    uses = uses_of(told, valence)
    base = _base([uses.pop(ANY, Use())], math.inf)
    return {key: _moved(valence.meaning_of(key), use.likes, use.n_sure, base) for key, use in uses.items()}


def _moved(meaning: Meaning, likes: float, n: float, base: float) -> Meaning:
    kappa = meaning.agreement
    share = (kappa * (meaning.value + 1) / 2 + likes) / (kappa + n)
    trust = (kappa * meaning.trust + n * LEARNT_TRUST * _tells(share, base)) / (kappa + n)
    return Meaning(2 * share - 1, trust, kappa)


def _base(everything: Sequence[Use], cap: float) -> float:
    """Share of likes among all replies with a surer sign; no member counts more than ``cap`` of them."""
    kept = [min(1.0, cap / max(use.n_sure, 1)) for use in everything]
    likes = sorted(k * use.likes for k, use in zip(kept, everything, strict=True))
    n = sum(sorted(k * use.n_sure for k, use in zip(kept, everything, strict=True)))
    return (BASE_STRENGTH / 2 + sum(likes)) / (BASE_STRENGTH + n)


def _tells(share: float, base: float) -> float:
    """How much an emoji says, 0 to 1: nothing when it goes with likes no more than any reply does.

    Who laughs at everything says nothing by laughing.
    """
    return (share - base) / (1 - base) if share >= base else (base - share) / base


def learn_meanings(
    members: Iterable[Mapping[str, Use]], valence: EmojiValence, *, min_members: int
) -> dict[str, Meaning]:
    """Learn what emoji mean in a population, and how much members agree on each.

    Args:
        members: How each consenting member uses emoji.
        valence: The tables, which are the prior.
        min_members: An emoji that fewer members gave evidence of is not learnt.

    Returns:
        The learnt ones, rounded, so that bytes are steady; the others keep the table's meaning.
    """
    by_emoji: dict[str, list[Use]] = {}
    for uses in members:
        for key, use in uses.items():
            by_emoji.setdefault(key, []).append(use)
    base = _base(by_emoji.pop(ANY, []), BASE_CAP)
    known = [(-len(uses), key) for key, uses in by_emoji.items() if len(uses) >= min_members]
    return {
        key: _learnt(by_emoji[key], valence.meaning_of(key), base) for _, key in sorted(known)[:MOST_LEARNT]
    }


def _learnt(uses: Sequence[Use], table: Meaning, base: float) -> Meaning:
    """Posterior mean of share and agreement for one emoji, on the grid."""
    evidence = sorted((_evidence(use) for use in uses), key=_content)  # the order must not show in the sums
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
    trust = (strength * table.trust + n * LEARNT_TRUST * _tells(found, base)) / (strength + n)
    return Meaning(*(float(np.float16(number)) for number in (2 * found - 1, trust, agreement)))


def _mean(log_likelihood: DoubleArray) -> float:
    weights = np.exp(log_likelihood - log_likelihood.max())
    return float(weights @ SHARES / weights.sum())


@dataclass(frozen=True, eq=False, slots=True)
class _Evidence:
    """What one member's use says of a share: log-likelihoods on the grid, and what they count like."""

    sure: DoubleArray
    weak: DoubleArray
    n_sure: float
    n_weak: float


def _evidence(use: Use) -> _Evidence:
    sure = use.likes * np.log(SHARES) + (use.n_sure - use.likes) * np.log(1 - SHARES)
    odds = np.sort(np.array(use.odds, dtype=np.float64))[:, None]  # (n, 1)
    weak = np.logaddexp(np.log(SHARES) + odds, np.log(1 - SHARES)).sum(axis=0)
    n_weak = float((np.tanh(odds / 2) ** 2).sum())  # Fisher information at q = 1/2, against a sure sign's
    kept, kept_weak = MEMBER_CAP / max(use.n_sure, MEMBER_CAP), WEAK_CAP / max(n_weak, WEAK_CAP)
    return _Evidence(kept * sure, kept_weak * weak, kept * use.n_sure, kept_weak * n_weak)


def _content(evidence: _Evidence) -> tuple[bytes, bytes]:
    return evidence.sure.tobytes(), evidence.weak.tobytes()


def _deviations() -> DoubleArray:
    """Share of members at each grid point, for each (q, kappa): ``shares * agreements x shares``."""
    q, kappa = (part.ravel()[:, None] for part in np.meshgrid(SHARES, AGREEMENTS, indexing="ij"))
    density = (kappa * q - 1) * np.log(SHARES) + (kappa * (1 - q) - 1) * np.log(1 - SHARES)
    density = np.exp(density - density.max(axis=1, keepdims=True))
    return density / density.sum(axis=1, keepdims=True)


_DEVIATIONS = _deviations()
