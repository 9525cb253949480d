"""Databases of released versions, kept as SQL dumps in ``tests/data/released``: one folder per schema.

    python -m tests.rig.released

writes the folder of the newest schema with the current code. Run it once with each new migration, and never
change a folder after its release. A folder holds the dump of every database and a made-up master key. In
each, two members agreed and reacted to each other's replies, a third refused, and the process was killed
while it forgot a fourth.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import tempfile
from pathlib import Path

from storage.privacy import erasing as rights
from storage.records import Impression, NewHead, Place, PriorRecord, RoundRecord, Who
from storage.servers.stored_settings import GuildRecord
from storage.settings import StorageSettings
from storage.store import Store
from tests.fakes import FixedClock

RELEASED = Path(__file__).parents[1] / "data" / "released"
FILES = {"data.sql": "data/data.db", "keys.sql": "keys/keys.db", "ledger.sql": "keys/ledger.db"}
ALICE, BOB, REFUSED, LEAVING = (Who(710, user) for user in (1, 2, 3, 4))
CHANNEL = 930
IMPRESSION = Impression(
    candidates=("Sure thing.", "Let me explain."),
    styles=("concise", "detailed"),
    chosen=1,
    scores=(0.25, 0.5),
    prior_scores=(0.5, 0.25),
    propensities=(0.05, 0.95),
    policy="thompson",
    head_version=0,
    feature_id="hash-4",
    features=bytes(range(16)),
)


def settings_in(folder: Path, url: str = "") -> StorageSettings:
    """Settings for a restored folder."""
    return StorageSettings(url=url, data_dir=folder / "data", key_dir=folder / "keys", group_commit_ms=1)


def restore(revision: str, folder: Path) -> None:
    """Recreate the files of a released folder, with the file modes that the store requires."""
    for name, target in FILES.items():
        if not (RELEASED / revision / name).exists():  # that version had no such database
            continue
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        raw = sqlite3.connect(path)
        raw.executescript((RELEASED / revision / name).read_text("utf-8"))
        raw.close()
    key = folder / "keys" / "master.key"
    key.touch(mode=0o600)
    key.write_bytes((RELEASED / revision / "master.key").read_bytes())


async def _live(folder: Path) -> None:
    """Act for four members; the process exits in the middle of a forget."""
    clock = FixedClock()
    store = await Store.open(settings_in(folder), now=clock)
    for number, who in enumerate((ALICE, BOB, LEAVING)):
        await store.consent.record(who)
        await store.replies.record(who, Place(CHANNEL, (10 * number, 10 * number + 1)), IMPRESSION)
    for who in (ALICE, BOB, LEAVING):
        for message in (0, 10, 20):
            await store.feedback.record_reaction(who, message, "👍", added=True)
    await store.feedback.record_rating(BOB, (await store.replies.latest(BOB)).reply_id, 5)
    await store.privacy.refuse(REFUSED)
    await store.learning.record_prior(PriorRecord(b"prior", 2, clock()))
    cursor = (await store.learning.changed_after(0, 10))[0].changed_seq
    heads = [
        NewHead(store.member_id(who), f"head {who.user_id}".encode(), 3) for who in (ALICE, BOB, LEAVING)
    ]
    await store.learning.record_round(RoundRecord(clock(), clock(), cursor, 3, 9, "cpu"), heads)
    await store.guild_settings.change(
        ALICE.guild_id, lambda _: GuildRecord({"persona": "You are kind."}, {":4242": 1.0})
    )
    await store.notes.put("command_tree", "hash")
    rights._erase_rows = lambda *_: os._exit(0)
    await store.privacy.forget(LEAVING.user_id)


def _dump(path: Path) -> str:
    raw = sqlite3.connect(path)
    version = raw.execute("PRAGMA user_version").fetchone()[0]
    text = "\n".join([*raw.iterdump(), f"PRAGMA user_version = {version};", ""])
    raw.close()
    return text


def main() -> None:
    """Write the folder of the newest schema."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = os.fork()
        if not child:
            asyncio.run(_live(folder))
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        raw = sqlite3.connect(folder / "data/data.db")
        (revision,) = raw.execute("SELECT version_num FROM alembic_version").fetchone()
        raw.close()
        target = RELEASED / revision
        target.mkdir(parents=True)
        for dump, source in FILES.items():
            (target / dump).write_text(_dump(folder / source), "utf-8")
        (target / "master.key").write_bytes((folder / "keys" / "master.key").read_bytes())
        sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
