"""The stored, the exported and the blanked form of a choice: none of them can be solved for the prior.

A score is a linear measurement of the head, and a head starts at the prior, which all members taught. So with
exact scores in their own data a member could solve for the prior, and from it for another member, also after
that member was forgotten.

* **Stored** are which candidate each head likes best, propensities on a grid, and for each part of the
  member's own taste whether it spoke for or against the reply. The probabilities of the posted candidate's
  kind rest on what other members liked, so they are on the grid, too.
* **Exported** are the posted candidate without its rivals, its propensity on the grid, the reason, and its
  kind without the probabilities.
* **Blanked** at an erasure are all choices since the erasure before. The numbers stay for the report, but in
  an order that cannot be matched to the texts; the texts that were not posted and the reasons are deleted.

Used by :mod:`storage.replies.impressions`, :mod:`storage.learning.past_choices` and
:mod:`storage.privacy`. Pure functions, and one that rewrites rows inside a unit of the writer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from storage.database.notes import note_of, put_note
from storage.database.schema import replies
from storage.errors import SealBroken
from storage.keys.key_store import KeyStore
from storage.keys.sealing import SealingKey, Slot
from storage.records import MemberId

NOTE = "blanked"
"""Note with the last reply whose choice is blanked."""
STEP = 0.05
"""Step of the grid of propensities; smaller ones are rounded to a half, a quarter and so on of it."""
LEAST, AMOUNT = 0.05, 0.1
"""Least part of a score that is kept, logits, and the size that every kept part gets."""
SURENESS = ((0.5, 0.25), (1.0, 0.75), (math.inf, 1.5))
"""Standard deviation of a score up to which another one is stored for it."""
ROWS_AT_ONCE = 1000
NUMBERS = "scores", "prior_scores", "propensities"
"""Numbers of a decision, one for each candidate; decisions of the oldest versions lack some."""


def coarse(decision: dict[str, Any]) -> dict[str, Any]:
    """Return a decision without exact numbers. Coarsening it again changes nothing."""
    if "posted_first" in decision:
        return decision
    made = decision | {
        name: (_on_grid if name == "propensities" else _favourites)(decision[name])
        for name in NUMBERS
        if name in decision
    }
    reason = decision.get("reason")
    if reason is not None:
        made["reason"] = reason | {
            "parts": [
                [name, math.copysign(AMOUNT, amount), math.copysign(1.0, difference)]
                for name, amount, difference in reason["parts"]
                if abs(amount) >= LEAST and reason["n_labels"]  # else it is the prior's taste alone
            ],
            "uncertainty": next(level for most, level in SURENESS if reason["uncertainty"] < most),
        }
    if (seat := decision.get("seat")) is not None:
        made["seat"] = seat | {"shares": [_of_seat(share) for share in seat["shares"]]}
    return made


def _of_seat(share: float) -> float:
    """Return a share on the grid; one that left another option a chance stays below 1."""
    return _rounded(share) if share <= 0.5 else 1 - _rounded(1 - share)


def exported(decision: dict[str, Any]) -> dict[str, Any]:
    """Return what a member's export holds of a decision."""
    made = coarse(decision)
    numbers = "scores", "prior_scores", "propensities", "posted_first"
    kept = {name: value for name, value in made.items() if name not in numbers}
    if (seat := kept.get("seat")) is not None:
        kept["seat"] = {name: value for name, value in seat.items() if name not in ("place", "shares")}
    return kept | {"propensity": made["propensities"][place_of_posted(made)]}


def place_of_posted(decision: dict[str, Any]) -> int:
    """Return the place of the posted candidate in the numbers of a decision."""
    return 0 if "posted_first" in decision else decision["chosen"]


def blanked(decision: dict[str, Any]) -> dict[str, Any]:
    """Return a decision whose numbers cannot be matched to its texts: the posted one first, then sorted."""
    made = coarse(decision)
    if "posted_first" in made:
        return made
    names = [name for name in NUMBERS if name in made]
    rows: list[tuple[float, ...]] = list(zip(*(made[name] for name in names), strict=True))
    chosen = made["chosen"]
    rows = [rows[chosen], *sorted(row for i, row in enumerate(rows) if i != chosen)]
    numbers = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    reason = made.get("reason")
    return (
        made | numbers | {"posted_first": True, "reason": None if reason is None else reason | {"parts": []}}
    )


def blank_stored(connection: Connection, keys: KeyStore, *, most: int | None = None) -> bool:
    """Blank the choices since the last time, for every prior behind them is deleted.

    Args:
        connection: The writing transaction.
        keys: Opens and seals.
        most: Replies that are read at most; None: all.

    Returns:
        Whether more may be left.
    """
    after, n_read = int(note_of(connection, NOTE) or 0), 0
    page = select(replies.c.reply_id, replies.c.member_id, replies.c.decision, replies.c.texts)
    page = page.order_by(replies.c.reply_id).limit(ROWS_AT_ONCE)
    change = update(replies).where(replies.c.reply_id == bindparam("id"))
    change = change.values(decision=bindparam("made"), texts=bindparam("left"))
    while (most is None or n_read < most) and (
        rows := connection.execute(page.where(replies.c.reply_id > after)).all()
    ):
        after = rows[-1].reply_id
        usable = keys.usable_keys_of({MemberId(row.member_id) for row in rows})
        made = [_blank_row(usable[row.member_id], row) for row in rows if row.member_id in usable]
        changed = [one for one in made if one is not None]
        if changed:
            connection.execute(change, changed)
        n_read += len(rows)
    put_note(connection, NOTE, str(after))
    return most is not None and n_read >= most


def _blank_row(key: SealingKey, row: Row[Any, Any, Any, Any]) -> dict[str, Any] | None:
    """Blank a row; None if it cannot be opened by anybody."""
    decision_slot, texts_slot = (
        Slot("replies", column, row.reply_id, row.member_id) for column in ("decision", "texts")
    )
    try:
        decision = blanked(json.loads(key.open(row.decision, decision_slot)))
        left = row.texts
        if left is not None:
            texts = json.loads(key.open(left, texts_slot))
            posted = [text if i == decision["chosen"] else "" for i, text in enumerate(texts)]
            left = key.seal(_json(posted), texts_slot)
    except SealBroken:
        return None
    return {"id": row.reply_id, "made": key.seal(_json(decision), decision_slot), "left": left}


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
