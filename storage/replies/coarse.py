"""The stored form of a choice: enough for explanations and the report, too little to solve for a prior.

A score is a linear measurement of the head, and a head starts at the prior, which all members taught. So with
exact scores in their own data a member could solve for the prior, and from it for another member, also after
that member was forgotten. Stored are therefore only: which candidate each head likes best, propensities on a
grid, and for each reason whether it spoke for or against the reply. Rows of older versions are coarsened when
they are read, and rewritten at the first erasure.

Used by :mod:`storage.replies.impressions`, :mod:`storage.learning.past_choices` and
:mod:`storage.privacy`. Pure functions, and one that rewrites rows inside a unit of the writer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from storage.database.notes import note_of, put_note
from storage.database.schema import replies
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot
from storage.records import MemberId

NOTE = "decisions"
"""Note that says that no row holds exact numbers any more."""
STEP = 0.05
"""Step of the grid of propensities; smaller ones are rounded to a half, a quarter and so on of it."""
LEAST, AMOUNT = 0.05, 0.1
"""Least part of a score that is kept, logits, and the size that every kept part gets."""
SURENESS = ((0.5, 0.25), (1.0, 0.75), (math.inf, 1.5))
"""Standard deviation of a score up to which another one is stored for it."""
ROWS_AT_ONCE = 1000


def coarse(decision: dict[str, Any]) -> dict[str, Any]:
    """Return a decision without exact numbers. Coarsening it again changes nothing."""
    made = decision | {
        "scores": _favourites(decision["scores"]),
        "prior_scores": _favourites(decision["prior_scores"]),
        "propensities": _on_grid(decision["propensities"]),
    }
    reason = decision.get("reason")
    if reason is not None:
        made["reason"] = reason | {
            "parts": [
                [name, math.copysign(AMOUNT, amount), math.copysign(1.0, difference)]
                for name, amount, difference in reason["parts"]
                if abs(amount) >= LEAST
            ],
            "uncertainty": next(level for most, level in SURENESS if reason["uncertainty"] < most),
        }
    return made


def coarsen_stored(connection: Connection, keys: KeyStore) -> int:
    """Rewrite the decisions that older versions stored exactly, once; return their number."""
    if note_of(connection, NOTE) == "coarse":
        return 0
    after = n_changed = 0
    page = select(replies.c.reply_id, replies.c.member_id, replies.c.decision).order_by(replies.c.reply_id)
    change = update(replies).where(replies.c.reply_id == bindparam("id")).values(decision=bindparam("made"))
    while rows := connection.execute(page.where(replies.c.reply_id > after).limit(ROWS_AT_ONCE)).all():
        after = rows[-1].reply_id
        usable = keys.usable_keys_of({MemberId(row.member_id) for row in rows})
        changed: list[dict[str, Any]] = []
        for reply_id, member_id, sealed in rows:
            key, slot = usable.get(MemberId(member_id)), Slot("replies", "decision", reply_id, member_id)
            try:
                stored = None if key is None else json.loads(key.open(sealed, slot))
            except SealBroken:
                continue  # unreadable for everybody
            if key is not None and stored is not None and (made := coarse(stored)) != stored:
                changed.append({"id": reply_id, "made": key.seal(_json(made), slot)})
        if changed:
            connection.execute(change, changed)
        n_changed += len(changed)
    put_note(connection, NOTE, "coarse")
    return n_changed


def _favourites(scores: Sequence[float]) -> list[float]:
    return [float(score == max(scores)) for score in scores]


def _on_grid(propensities: Sequence[float]) -> list[float]:
    """Round all but the largest probability to the grid; the largest is the rest, so they sum to 1."""
    largest = max(range(len(propensities)), key=propensities.__getitem__, default=0)
    made = [0.0 if i == largest else _rounded(one) for i, one in enumerate(propensities)]
    if made:
        made[largest] = max(round(1 - math.fsum(made), 6), STEP)
    return made


def _rounded(propensity: float) -> float:
    if propensity <= 0:
        return 0.0
    if propensity >= STEP:
        return round(round(propensity / STEP) * STEP, 6)
    return float(f"{STEP * 2.0 ** round(math.log2(propensity / STEP)):.6g}")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
