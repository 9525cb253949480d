"""The file of a member with very much data: whole, in parts that Discord takes, in little memory.

The file was once built in memory five times over, as large as the member had made their history.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import discord
import numpy as np
import pytest

from bot.cogs.members import my_data
from bot.ui import data_export
from bot.ui.data_export import AlreadyMaking, DataExport
from storage.privacy import export
from storage.records import Place, Who
from storage.store import Store
from tests.rig.size import sized
from tests.unit.storage.given import ALICE, IMPRESSION, settings_in

N_REPLIES = sized(ci=40, full=2_000)
AT = datetime(2026, 1, 1, tzinfo=UTC)
noise = np.random.default_rng(0)
BIG = replace(IMPRESSION, candidates=("so it goes on, " * 40,) * 4, features=noise.bytes(1600))


async def remembered(store: Store, who: Who, start: int, n_replies: int) -> None:
    """Store replies to a member, each with a rating."""
    numbers = range(start, start + n_replies)
    ids = await asyncio.gather(
        *(
            store.replies.record(who, Place(5, (10**6 + n,)), replace(BIG, features=noise.bytes(1600)))
            for n in numbers
        )
    )
    await asyncio.gather(*(store.feedback.record_rating(who, one, 1 + one % 5) for one in ids))


@pytest.fixture
def small_uploads(monkeypatch):
    """A server that takes files of 40 kB, as Discord says with each interaction."""
    limit = property(lambda _: 40_000, lambda _self, _value: None)
    monkeypatch.setattr(discord.Interaction, "filesize_limit", limit)


async def sent(world) -> tuple[str, dict[str, bytes]]:
    """Use ``/my-data``; return the summary and the files by name."""
    shown = await world.alice.slash(world.channel, "my-data")
    messages = [shown.response, *shown.followups]
    files = [one for message in messages for one in message.attachments]
    return messages[-1].content, {one.filename: await one.read() for one in files}


async def test_the_file_comes_whole_in_parts_below_the_limit_of_the_server(world, small_uploads):
    await world.agree(world.alice)
    who, store = Who(world.guild.id, world.alice.id), world.house.store
    await remembered(store, who, 0, N_REPLIES)

    summary, files = await sent(world)

    assert len(files) > 2
    assert max(map(len, files.values())) <= 40_000 - my_data.BESIDE_BYTES
    content = json.loads(gzip.decompress(b"".join(files[name] for name in sorted(files))))
    ((_, stored),) = await store.privacy.export(who)
    (server,) = content["servers"]
    assert set(server) == set(stored)
    for table, rows in stored.items():
        assert [
            {c: row[c] for c in stored_row} for row, stored_row in zip(server[table], rows, strict=True)
        ] == rows
    assert len(server["replies"]) == len(server["feedback"]) == N_REPLIES
    assert all(0 <= row["label"] <= 1 for row in server["feedback"])
    assert f"My replies to you: {N_REPLIES} " in summary
    assert f"The file has {len(files)} parts" in summary


async def test_a_part_that_discord_refuses_is_not_missing_without_a_word(world, small_uploads, monkeypatch):
    await world.agree(world.alice)
    await remembered(world.house.store, Who(world.guild.id, world.alice.id), 0, N_REPLIES)
    cog = sys.modules["bot.cogs.members.my_data"]  # discord.py has loaded it anew
    honest, n_sent = cog._file_of, 0

    def refused(part):
        nonlocal n_sent
        n_sent += 1
        if n_sent == 2:
            raise discord.DiscordServerError(type("Answer", (), {"status": 503, "reason": "busy"})(), "busy")
        return honest(part)

    monkeypatch.setattr(cog, "_file_of", refused)
    shown = await world.alice.slash(world.channel, "my-data")

    assert "NOT complete: I could send only 1 of its parts" in shown.followups[-1].content


async def peak_bytes(store: Store) -> int:
    """Return the most memory that the file of Alice takes while it is made and sent in parts."""

    async def send(_part) -> None:
        await asyncio.sleep(0)

    class NoTaste:
        async def labelling(self, _guild):
            return lambda _reactions, _rating: None

    tracemalloc.start()
    await DataExport(store, NoTaste()).send(ALICE, AT, send, part_bytes=20_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


async def growth(store: Store) -> float:
    """Return by what factor the memory grows for a history five times as long."""
    await store.consent.record(ALICE)
    await remembered(store, ALICE, 0, N_REPLIES // 2)
    short = await peak_bytes(store)
    await remembered(store, ALICE, N_REPLIES // 2, 2 * N_REPLIES)
    return await peak_bytes(store) / short


async def test_memory_does_not_grow_with_the_history(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "PAGE", 10)
    async with await Store.open(settings_in(tmp_path)) as store:
        assert await growth(store) < 1.5


async def test_control_with_all_rows_in_one_page_memory_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "PAGE", 10**9)
    async with await Store.open(settings_in(tmp_path)) as store:
        assert await growth(store) > 2.5


async def test_one_member_cannot_fill_the_queue_with_files(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await store.consent.record(ALICE)
        sending, go_on = asyncio.Event(), asyncio.Event()

        class SlowTaste:
            async def labelling(self, _guild):
                sending.set()
                await go_on.wait()
                return lambda _reactions, _rating: None

        exports = DataExport(store, SlowTaste())

        async def send(_part) -> None: ...

        first = asyncio.create_task(exports.send(ALICE, AT, send))
        await sending.wait()
        with pytest.raises(AlreadyMaking):
            await exports.send(ALICE, AT, send)
        go_on.set()
        assert (await first)[0].name == "my-data.json"
        assert (await exports.send(ALICE, AT, send))[0].number == 1


def test_the_default_part_is_below_what_every_server_takes():
    assert data_export.PART_BYTES + my_data.BESIDE_BYTES < 10 * 2**20
