"""Shared setup of the storage tests: members of one server, an impression, short ways to post and read."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from storage.records import Impression, Place, ReplyId, RoundRecord, Who
from storage.settings import StorageSettings
from storage.store import Store

GUILD = 710_000_000_000_000_001
ALICE = Who(GUILD, 820_000_000_000_000_001)
BOB = Who(GUILD, 820_000_000_000_000_002)
CAROL = Who(GUILD, 820_000_000_000_000_003)
CHANNEL = 930_000_000_000_000_001
FIRST, SECOND = 1_040_000_000_000_000_001, 1_040_000_000_000_000_002
START = datetime(2026, 1, 1, tzinfo=UTC)

IMPRESSION = Impression(
    candidates=("Sure thing.", "Let me explain."),
    styles=("concise", "detailed"),
    chosen=1,
    scores=(0.25, 0.5),
    prior_scores=(0.5, 0.25),
    propensities=(0.05, 0.95),
    policy="epsilon-greedy",
    head_version=0,
    feature_id="hash-4",
    features=bytes(range(16)),
)


def settings_in(folder: Path, **changes: object) -> StorageSettings:
    chosen = {"data_dir": folder / "data", "key_dir": folder / "keys", "group_commit_ms": 1}
    return StorageSettings(**(chosen | changes))


async def posted(store: Store, who: Who, *message_ids: int) -> ReplyId:
    """Post a reply to a member who agreed, split into these messages."""
    await store.consent.record(who)
    return await store.replies.record(who, Place(CHANNEL, message_ids), IMPRESSION)


async def standing(store: Store, who: Who) -> dict[ReplyId, tuple[tuple[str, ...], int | None]]:
    """Return reply -> (emoji, rating) of this member."""
    member_id = store.member_id(who)
    rows = (await store.learning.feedback_of([member_id]))[member_id]
    return {row.reply_id: (row.reactions, row.rating) for row in rows}


async def due(store: Store) -> list[Who]:
    """Return the members due for a round, the longest waiting first."""
    names = {store.member_id(who): who for who in (ALICE, BOB, CAROL)}
    return [
        names[changed.member_id]
        for changed in await store.learning.changed_after(await store.learning.cursor(), 100)
    ]


async def round_of(store: Store, *heads: object) -> int:
    """Store a round that processed every change so far."""
    changed = await store.learning.changed_after(await store.learning.cursor(), 1000)
    cursor = changed[-1].changed_seq if changed else await store.learning.cursor()
    return await store.learning.record_round(RoundRecord(START, START, cursor, 1, 1, "cpu"), heads)
