"""A membership attack: was this member ever there?

The attacker is given more than anybody has: all that is left in the store, opened (the prior, the heads of
the others, every count), and the replies and clicks of the member in question. What somebody's labels have
moved ranks those labels better than chance would, so the attacker asks how well each of the vectors that are
left ranks the member's clicks, beside the same clicks dealt anew over the same replies. Asked of many
members, once where they never were and once where they came, taught, and left, that score should not tell the
two apart: :func:`auc` of 0.5. 1.0 would mean that it always does.
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
    """A member, the replies to them, and which of those they liked; in the order of the replies."""

    who: Who
    texts: tuple[str, ...]
    liked: tuple[bool, ...]


@dataclass(frozen=True)
class Left:
    """What the attacker makes of what is left: a score from each source, higher if the member was there."""

    prior: float
    heads: float
    counts: float


def drawn(rng: np.random.Generator, bench: Bench, who: Who, n_replies: int) -> Clicks:
    """A member with a taste of their own, which nobody shares."""
    texts = tuple(f"reply {rng.integers(10**12)}" for _ in range(n_replies))
    X = bench.features.features(texts)[:, : bench.features.n_embedding]  # (n, d)
    logits = X @ (3 * rng.normal(size=X.shape[1]))
    liked = rng.random(n_replies) < 1 / (1 + np.exp(-logits))
    return Clicks(who, texts, tuple(liked.tolist()))


async def joins(bench: Bench, clicks: Clicks, fellows: Sequence[Who] = ()) -> None:
    """The member agrees, gets the replies and reacts to all of them; fellows react to some, alike."""
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
    """A new prior, then a round."""
    await bench.trainer.rebuild_prior()
    await bench.trainer.run_round()


async def attacked(bench: Bench, clicks: Clicks, others: Sequence[Who]) -> Left:
    """Score what is left in the store for one member."""
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
    """Read a stored head."""
    return Head.from_bytes(body, feature_id=bench.features.feature_id, dim=bench.features.dim)


def betrayal(head: Head, X: np.ndarray, liked: Sequence[bool]) -> float:
    """By how many standard deviations a head ranks these clicks better than the same ones dealt anew."""
    score, y = head.score(X), np.array(liked, dtype=np.float64)
    score = score - score.mean()
    rng = np.random.default_rng(0)
    dealt = np.array([score @ rng.permutation(y) for _ in range(N_DEALT)])
    return float((score @ y - dealt.mean()) / (dealt.std() + 1e-12))


def auc(there: Sequence[float], never: Sequence[float]) -> float:
    """Probability that a score of somebody who was there is above one of somebody who never was."""
    a, b = np.array(there)[:, None], np.array(never)[None, :]
    return float(((a > b) + 0.5 * (a == b)).mean())
