"""P26: old data is deleted automatically.

The test moves the clock. Texts of candidates are deleted after ``retention_days``. Data of a deleted message
are deleted at once, and the database's log is emptied within a minute. Data of a server are deleted seven
days after the bot was removed from it: not earlier, not after an outage, and not if the bot returned.
Afterwards no file contains a ciphertext of these data.

Control: without the clean-up, and without emptying the log, the same search finds ciphertext.
"""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from storage.database.writer import Writer
from storage.records import Consent, ServerList, Shard, Who
from storage.store import Store
from tests.fakes import FixedClock
from tests.rig.canary import Canaries
from tests.unit.storage.given import ALICE, BOB, FIRST, posted, settings_in

pytestmark = pytest.mark.promise("P26")

ELSEWHERE = Who(ALICE.guild_id + 1, BOB.user_id)
DIRECT = Who(0, ALICE.user_id)


def ciphertexts(folder: Path, columns: dict[str, tuple[str, ...]], where: str = "1") -> Canaries:
    """Return the current sealed values of these columns."""
    found = Canaries()
    raw = sqlite3.connect(f"file:{folder / 'data' / 'data.db'}?mode=ro", uri=True)
    for table, names in columns.items():
        for name in names:
            for (value,) in raw.execute(f"SELECT {name} FROM {table} WHERE {where}"):
                found.value(f"{table}.{name}", value)
    raw.close()
    return found


async def test_texts_go_after_the_retention_time_and_leave_no_trace(tmp_path):
    clock = FixedClock()
    async with await Store.open(settings_in(tmp_path, retention_days=30), now=clock) as store:
        await posted(store, ALICE, FIRST)
        texts = ciphertexts(tmp_path, {"replies": ("texts",)})
        clock.advance(days=29, hours=23)
        early = await store.replies.expire_texts()
        assert texts.in_folder(tmp_path) != []

        clock.advance(hours=2)

        assert (early, await store.replies.expire_texts()) == (0, 1)
        assert texts.in_folder(tmp_path) == []
        assert (await store.replies.latest(ALICE)).text is None


async def test_a_deleted_message_leaves_nothing_within_a_minute(tmp_path, world):
    async with await Store.open(settings_in(tmp_path / "own")) as store:
        await posted(store, ALICE, FIRST)
        await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
        everything = {
            "replies": ("features", "decision", "texts"),
            "messages": ("place",),
            "feedback": ("state",),
        }
        sealed = ciphertexts(tmp_path / "own", everything)

        await store.feedback.record_deleted([FIRST])
        await store.feedback.settle()

        assert (await store.privacy.summary(ALICE)).n_replies == 0
        assert sealed.in_folder(tmp_path / "own") == []
    job = world.house.scheduler._works["settle"]
    assert job == (world.house.store.feedback.settle, 30.0)


async def test_control_without_emptying_the_log_a_deleted_message_is_found(tmp_path, monkeypatch):
    async def keep(_writer: Writer, wait_s: float = 0) -> None:
        pass

    monkeypatch.setattr(Writer, "empty_log", keep)
    async with await Store.open(settings_in(tmp_path)) as store:
        await posted(store, ALICE, FIRST)
        sealed = ciphertexts(tmp_path, {"replies": ("texts",)})

        await store.feedback.record_deleted([FIRST])
        await store.feedback.settle()

        assert sealed.in_folder(tmp_path) != []


async def lived(store: Store) -> None:
    """Alice agreed here and in direct messages, Bob here and elsewhere; Bob refused in a third server."""
    for number, who in enumerate((ALICE, BOB, ELSEWHERE, DIRECT)):
        await posted(store, who, FIRST + number)
    await store.privacy.refuse(Who(ALICE.guild_id + 2, BOB.user_id))


async def standing(store: Store) -> list[bool]:
    return [await store.consent.of(who) is Consent.AGREED for who in (ALICE, BOB, ELSEWHERE, DIRECT)]


async def test_a_servers_data_go_seven_days_after_it_was_left_and_leave_no_trace(tmp_path):
    clock = FixedClock()
    gone: list[bytes] = []
    async with await Store.open(settings_in(tmp_path), now=clock) as store:
        await lived(store)
        guild = store.guild_id(ALICE).hex()
        sealed = ciphertexts(
            tmp_path, {"replies": ("texts",)},
            f"member_id IN (SELECT member_id FROM members WHERE guild = x'{guild}')",
        )  # fmt: skip
        await store.departures.record(ALICE.guild_id)
        clock.advance(days=6, hours=23)
        assert await store.departures.erase_due() is None
        await store.departures.record(ALICE.guild_id)  # reported again: the first time counts
        clock.advance(hours=1)

        receipt = await store.departures.erase_due(gone.extend)

        assert receipt is not None and (len(receipt.member_ids), receipt.n_keys) == (2, 2)
        assert set(gone) == {store.member_id(ALICE), store.member_id(BOB)}
        assert await standing(store) == [False, False, True, True]
        assert sealed.in_folder(tmp_path) == []
        assert await store.departures.erase_due() is None
        assert await store.consent.of(Who(ALICE.guild_id + 2, BOB.user_id)) is Consent.REFUSED


async def test_a_server_that_the_bot_came_back_to_keeps_its_data(tmp_path):
    clock = FixedClock()
    async with await Store.open(settings_in(tmp_path), now=clock) as store:
        await lived(store)
        await store.departures.record(ALICE.guild_id)
        clock.advance(days=6)
        await store.departures.record_return(ALICE.guild_id)
        clock.advance(days=30)

        assert await store.departures.erase_due() is None
        assert await standing(store) == [True] * 4


async def test_a_server_left_while_the_bot_was_away_counts_from_the_second_session_without_it(tmp_path):
    clock = FixedClock()
    here, elsewhere = ALICE.guild_id, ELSEWHERE.guild_id

    async def begin_session(name: str, *guild_ids: int) -> None:
        await store.coordination.shards.ready(Shard(0, 1))
        await store.departures.record_list(lambda: ServerList(Shard(0, 1), name, frozenset(guild_ids)))

    async with await Store.open(settings_in(tmp_path), now=clock) as store:
        await begin_session("first", here, elsewhere)
        await lived(store)
    clock.advance(days=100)
    async with await Store.open(settings_in(tmp_path), now=clock) as store:
        await begin_session("second", here)
        assert await store.departures.erase_due() is None
        await begin_session("third", here)
        clock.advance(days=7)

        assert await store.departures.erase_due() is not None
        assert await standing(store) == [True, True, False, True]


async def test_an_outage_is_no_departure(world):
    store, guild_id = world.house.store, world.guild.id
    await world.agree(world.alice)
    noted: list[int] = []

    async def note(guild_id: int) -> None:
        noted.append(guild_id)

    store.departures.record = note
    deleted = world.bot._connection.parsers["GUILD_DELETE"]
    deleted({"id": str(guild_id), "unavailable": True})
    await world.env.settle()
    in_outage = noted.copy()
    deleted({"id": str(guild_id)})  # removed during the outage
    await world.env.settle()

    assert (in_outage, noted) == ([], [guild_id])


async def test_control_without_the_grace_a_mistake_would_cost_everything(tmp_path, monkeypatch):
    from storage.privacy import departures

    monkeypatch.setattr(departures, "GRACE", timedelta(0))
    clock = FixedClock()
    async with await Store.open(settings_in(tmp_path), now=clock) as store:
        await lived(store)
        await store.departures.record(ALICE.guild_id)
        await store.departures.erase_due()
        await store.departures.record_return(ALICE.guild_id)

        assert await standing(store) == [False, False, True, True]
