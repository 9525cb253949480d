"""Bounds the part of each person and each server in everything that members share.

The prior, its calibration, the means of servers and the meanings of emoji are learnt from many members and
used for others. :func:`shares` says how much of each member's evidence counts in one of them:

1. A person counts at most like ``most``, also with accounts in many servers.
2. A server counts at most like :data:`SERVER_SHARE` of the whole, or like an equal part where there are fewer
   servers. It always keeps the weight of ``min_members / 2`` of its members, so that large servers are not
   silenced by small ones. A server alone is not cut. Servers with one teacher, which include all direct
   messages, count together as one server.
3. The effective number of persons, ``(sum w)^2 / sum w^2``, is at least ``min_members``; else nothing is
   learnt.
4. A person counts at most like ``2 / min_members`` of the whole.
5. Evidence counts by the probability that its member does not contradict the others
   (:mod:`personalization.population.agreement`), unless too few persons would be left by rule 3.

The result is a pure function of the set of members, so forgetting stays exact. Called by
:mod:`personalization.labels.emoji_meanings`, :mod:`personalization.population` and
:mod:`personalization.rounds.teaching`; NumPy only.

Source: Kish (1965), Survey sampling, for the effective number.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from personalization.arrays import DoubleArray

Name = TypeVar("Name")

SERVER_SHARE = 1 / 5
"""Largest part of one server in what is shared, where there are five servers or more."""
SERVER_FLOOR = 0.5
"""Weight that a server always keeps, in ``min_members`` of its average members."""
PERSON_SHARE = 2.0
"""Largest part of one person, in parts of ``1 / min_members``."""
_LONE = (b"", True)
"""Server of all members who are alone in theirs."""
_TURNS = 200
"""Turns in which a limit settles; each turn at least halves the distance in all but extreme cases."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose evidence it is.

    Attributes:
        person: Pseudonym of the person over all servers; empty: a person of their own.
        server: Pseudonym of the server; empty: the same unknown server.
        agrees: Probability that the member does not contradict the taste that the others share.
    """

    person: bytes = b""
    server: bytes = b""
    agrees: float = 1.0


def shares(
    weights: Sequence[float] | DoubleArray, owners: Sequence[Owner], *, most: float, min_members: int
) -> DoubleArray | None:
    """Return the part of each member's evidence that counts, ``n`` in [0, 1].

    Args:
        weights: Weight of each member's evidence, ``n``, >= 0.
        owners: Whose evidence it is, ``n``.
        most: Largest weight of one person, > 0.
        min_members: Least effective number of persons.

    Returns:
        None if the effective number is smaller. The order of members has no effect.
    """
    raw = np.asarray(weights, dtype=np.float64)
    agrees = np.array([owner.agrees for owner in owners])
    if (agrees < 1).any():
        kept = _capped(raw * agrees, owners, most, min_members)
        if kept is not None:
            return kept * agrees
    return _capped(raw, owners, most, min_members)


def _capped(raw: DoubleArray, owners: Sequence[Owner], most: float, min_members: int) -> DoubleArray | None:
    people = [owner.person or i for i, owner in enumerate(owners)]
    per_person = _sums(raw, people)
    own = np.array([min(1.0, most / max(per_person[person], 1e-300)) for person in people])
    own = own * _server_factors(raw * own, people, [owner.server for owner in owners], min_members)
    per_person = _sums(raw * own, people)
    if effective(per_person.values()) < min_members * (1 - 1e-9):
        return None
    limit = _limit(per_person, {}, PERSON_SHARE / min_members)
    return own * np.array([min(1.0, limit / max(per_person[person], 1e-300)) for person in people])


def effective(weights: Iterable[float]) -> float:
    """Return the effective number of equal weights, ``(sum w)^2 / sum w^2``; 0 without any weight."""
    known = [weight for weight in weights if weight > 0]
    return math.fsum(known) ** 2 / math.fsum(weight * weight for weight in known) if known else 0.0


def _server_factors(
    weights: DoubleArray, people: Sequence[bytes | int], servers: Sequence[bytes], min_members: int
) -> DoubleArray:
    n_people = Counter(server for server, _ in set(zip(servers, people, strict=True)))
    named = [_LONE if n_people[server] == 1 else (server, False) for server in servers]
    totals = _sums(weights, named)
    lone = {person for name, person in zip(named, people, strict=True) if name == _LONE}
    sizes = {name: len(lone) if name == _LONE else n_people[name[0]] for name in totals}
    floors = {
        name: total * min(1.0, SERVER_FLOOR * min_members / sizes[name]) for name, total in totals.items()
    }
    limit = _limit(totals, floors, max(SERVER_SHARE, 1 / len(totals)) if totals else 1.0)
    return np.array([min(1.0, max(limit, floors[name]) / max(totals[name], 1e-300)) for name in named])


def _limit(totals: Mapping[Name, float], floors: Mapping[Name, float], share: float) -> float:
    """Find the largest limit that is at most this share of the sum that it leaves; floors are not cut."""
    limit = max(totals.values(), default=0.0)
    for _ in range(_TURNS):
        kept = math.fsum(min(total, max(limit, floors.get(name, 0.0))) for name, total in totals.items())
        lower = share * kept
        if lower >= limit * (1 - 1e-12):
            break
        limit = lower
    return limit


def _sums(weights: DoubleArray, names: Sequence[Name]) -> dict[Name, float]:
    """Sum weights by name, exactly, so that the order has no effect."""
    parts: defaultdict[Name, list[float]] = defaultdict(list)
    for weight, name in zip(weights.tolist(), names, strict=True):
        parts[name].append(weight)
    return {name: math.fsum(part) for name, part in parts.items()}
