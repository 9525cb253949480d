"""Membership inference attack: decides from the stored data whether a member was ever in it.

The attacker gets more than any real one: the decrypted content of the store (the prior, the heads of the
other members, every count), and the replies and reactions of the member in question. A vector that was fitted
to a member's labels ranks these labels better than chance. So the attack scores how well each stored vector
ranks the member's reactions, compared with random permutations of them over the same replies. The score is
taken for many members: once where they never joined, once where they joined, taught and were forgotten.
:func:`auc` of the two should be 0.5 (indistinguishable); 1.0 means that the attack always succeeds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from personalization.heads.heads import Head
from storage.database import schema
from storage.records import Impression, Place, Reacted, Who
from tests.rig.counterfactual import rows_in
from tests.unit.personalization.bench import Bench

N_DEALT = 400


@dataclass(frozen=True)
class Clicks:
    """A member, the replies to them, and whether they liked each one, in the same order."""

    who: Who
    texts: tuple[str, ...]
    liked: tuple[bool, ...]


@dataclass(frozen=True)
class Left:
    """The attacker's score from each source; higher means the member was more likely present."""

    prior: float
    heads: float
    counts: float


def drawn(rng: np.random.Generator, bench: Bench, who: Who, n_replies: int) -> Clicks:
    """Draw a member with a random taste, independent of all others."""
    texts = tuple(f"reply {rng.integers(10**12)}" for _ in range(n_replies))
    X = bench.features.features(texts)[:, : bench.features.n_embedding]  # (n, d)
    logits = X @ (3 * rng.normal(size=X.shape[1]))
    liked = rng.random(n_replies) < 1 / (1 + np.exp(-logits))
    return Clicks(who, texts, tuple(liked.tolist()))


async def joins(bench: Bench, clicks: Clicks, fellows: Sequence[Who] = ()) -> None:
    """The member agrees, gets the replies and reacts to all; fellows react to every fifth in the same way."""
    await bench.store.consent.record(clicks.who)
    features = bench.features.features(clicks.texts)
    first = bench.n_messages + 1
    bench.n_messages += len(clicks.texts)
    await asyncio.gather(
        *(
            bench.store.replies.record(
                clicks.who,
                Place(1, (first + number,)),
                Impression(
                    (text,), ("plain",), 0, (0.0,), (0.0,), (1.0,), "greedy", 0,
                    bench.features.feature_id, features[number].tobytes(),
                ),
            )
            for number, text in enumerate(clicks.texts)
        )
    )  # fmt: skip
    happened = []
    for number, liked in enumerate(clicks.liked):
        for who in (clicks.who, *(fellows if number % 5 == 0 else ())):
            happened.append(Reacted(1, first + number, who, "👍" if liked else "👎", False, True))
    await bench.store.feedback.record_events(happened)


async def learn(bench: Bench) -> None:
    """Rebuild the prior, then run a round."""
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()


async def attacked(bench: Bench, clicks: Clicks, others: Sequence[Who]) -> Left:
    """Attack one member with the current content of the store."""
    X = bench.features.features(clicks.texts)  # (n, d)
    heads = [head_of(bench, body) for who in others if (body := await bench.head(who))]
    tables = [table for table in schema.metadata.sorted_tables if table is not schema.rounds]
    counts = await rows_in(bench.store, tables)
    record = await bench.store.learning.prior()
    return Left(
        prior=betrayal(bench.ranker.prior.head(), X, clicks.liked),
        heads=float(np.mean([betrayal(head, X, clicks.liked) for head in heads])),
        counts=float(sum(counts.values()) + (0 if record is None else record.n_members)),
    )


def head_of(bench: Bench, body: bytes) -> Head:
    """Parse a stored head."""
    return Head.from_bytes(body, feature_id=bench.features.feature_id, dim=bench.features.dim)


def betrayal(head: Head, X: np.ndarray, liked: Sequence[bool]) -> float:
    """Z-score of how well a head ranks these reactions, against random permutations of them."""
    score, y = head.score(X), np.array(liked, dtype=np.float64)
    score = score - score.mean()
    rng = np.random.default_rng(0)
    dealt = np.array([score @ rng.permutation(y) for _ in range(N_DEALT)])
    return float((score @ y - dealt.mean()) / (dealt.std() + 1e-12))


def auc(there: Sequence[float], never: Sequence[float]) -> float:
    """Probability that a present member scores above an absent one; ties count half."""
    a, b = np.array(there)[:, None], np.array(never)[None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())
