"""P39, keys in a database: moves, copies and restores happen whole, or change nothing.

Keys and ledger move from files to PostgreSQL and back, killed at each step and repeated. Copies made while a
bot runs bring lost keys back, into either place. Refusals (the database of the data under any of its names,
another bot's keys, a running bot, an old copy, a newer place) leave every row and file as it was.

Control: a restore that is not refused changes the rows.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest

from bot.doctor.stored_data import examine_data
from storage.errors import AlreadyOpen, KeyUnreadable, StorageError, StoreMissing
from storage.failpoints import FailpointReached, switch_on
from storage.maintenance.backup import back_up, back_up_keys, ledger_counts
from storage.maintenance.moving_keys import move_keys
from storage.maintenance.restoring import restore
from storage.maintenance.restoring_keys import restore_keys
from storage.store import Store
from tests.rig.canary import Canaries
from tests.rig.key_places import DATABASE, keys_at
from tests.rig.two_bots import bot, contents, template
from tests.unit.storage.given import ALICE, BOB, CAROL, settings_in

__all__ = ["bot", "template"]
pytestmark = [pytest.mark.promise("P39"), pytest.mark.slow]
WEEK = timedelta(days=7)


@pytest.fixture
async def at(bot, postgres):
    """An empty database for the keys of the first bot."""
    async with keys_at(DATABASE, bot, lambda: postgres) as place:
        yield place
    switch_on("")


async def state(settings) -> tuple[int, int, tuple[int, int]]:
    """Return the replies of Alice, those of Bob, and what the ledger holds."""
    async with await Store.open(settings) as store:
        n_replies = [(await store.privacy.summary(who)).n_replies for who in (ALICE, BOB)]
    return (*n_replies, await ledger_counts(settings))


async def test_keys_move_to_a_database_and_back_and_the_bot_goes_on(bot, at):
    before = await state(bot)
    moved = await move_keys(bot, at.settings.key_url)

    assert [path.name for path in bot.key_dir.glob("*.db*")] == []
    assert await state(at.settings) == before
    assert moved.n_rows == sum(map(len, (await at.dump()).values()))
    async with await Store.open(at.settings) as store:
        await store.consent.record(CAROL)
        assert (await store.privacy.forget(CAROL.user_id)).n_keys == 1
    await move_keys(at.settings, "")
    assert await state(bot) == (before[0], before[1], (before[2][0] + 1, before[2][1]))
    assert await at.sql("SELECT 1 FROM pg_class WHERE relname = 'member_keys'") == []


@pytest.mark.parametrize("way", ["there", "back"])
@pytest.mark.parametrize("moment", ["restore.before-replace", "move.keys-copied"])
async def test_a_move_cut_short_leaves_the_old_place_and_goes_on(bot, at, moment, way):
    before = await state(bot)
    old, new = bot, at.settings
    if way == "back":
        await move_keys(bot, at.settings.key_url)
        old, new = new, old
    switch_on(f"{moment}=raise")
    with pytest.raises(FailpointReached):
        await move_keys(old, new.key_url)
    switch_on("")

    if (way, moment) == ("there", "move.keys-copied"):
        with pytest.raises(StorageError, match=r"Finish `simpatico move --keys-to`"):
            await Store.open(new)
    if way == "there":  # the bot goes on with the old place
        async with await Store.open(old) as store:
            await store.consent.record(CAROL)
    await move_keys(old, new.key_url)
    assert await state(new) == before


async def test_a_copy_from_the_database_brings_lost_keys_back_into_either_place(bot, at, tmp_path):
    await move_keys(bot, at.settings.key_url)
    before = await state(at.settings)
    async with await Store.open(at.settings) as store:  # while a bot runs
        await back_up_keys(at.settings, tmp_path / "saved")
        alice = store.member_id(ALICE)
        with pytest.raises(AlreadyOpen):
            await restore_keys(at.settings, tmp_path / "saved", WEEK)
    master = (bot.key_dir / "master.key").read_bytes().strip()
    assert Canaries().secret("master", master).in_folder(tmp_path / "bot" / "data") == []
    await at.sql("DROP TABLE system_keys, member_keys, erased_keys, refusals, ledger_origin, key_schema")

    await restore_keys(at.settings, tmp_path / "saved", WEEK)

    assert await state(at.settings) == before
    assert len(await at.sql("SELECT 1 FROM member_keys WHERE member_id = ?", alice)) == 1
    await at.sql("DROP TABLE system_keys, member_keys, erased_keys, refusals, ledger_origin, key_schema")
    await restore_keys(bot, tmp_path / "saved", WEEK)
    assert await state(bot) == before


async def test_data_are_restored_under_keys_in_a_database_and_forget_again(bot, at, tmp_path):
    await move_keys(bot, at.settings.key_url)
    back_up(bot, tmp_path / "old-copy")
    async with await Store.open(at.settings) as store:
        await store.privacy.forget(ALICE.user_id)

    receipt = await restore(at.settings, tmp_path / "old-copy")

    assert len(receipt.member_ids) == 1
    assert (await state(at.settings))[0] == 0


REFUSED = {
    "another bot's copy": (lambda folder: folder / "other-keys", WEEK, KeyUnreadable),
    "an old copy": (lambda folder: folder / "keys", timedelta(days=-1), StorageError),
    "a copy of data": (lambda folder: folder / "data", WEEK, StorageError),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_a_refused_restore_changes_no_row_and_no_file(bot, at, tmp_path, why):
    source, longest, error = REFUSED[why]
    await move_keys(bot, at.settings.key_url)
    before = await at.dump(), contents(tmp_path)

    with pytest.raises(error, match="Nothing was changed") as caught:
        await restore_keys(at.settings, source(tmp_path), longest)

    assert (await at.dump(), contents(tmp_path)) == before
    assert "keys.db" not in str(caught.value)


async def test_a_restore_cut_short_changes_no_row(bot, at, tmp_path):
    await move_keys(bot, at.settings.key_url)
    before = await at.dump()
    switch_on("restore.before-replace=raise")
    with pytest.raises(FailpointReached):
        await restore_keys(at.settings, tmp_path / "keys", WEEK)

    assert await at.dump() == before


async def test_control_a_restore_that_is_not_refused_changes_the_rows(bot, at, tmp_path):
    await move_keys(bot, at.settings.key_url)
    await at.sql("DELETE FROM refusals")
    await at.sql("UPDATE member_keys SET wrapped = 'broken'")
    before = await at.dump()
    await restore_keys(at.settings, tmp_path / "keys", WEEK)

    assert await at.dump() != before


async def test_the_database_of_the_data_is_refused_under_all_of_its_names(tmp_path, postgres):
    name = await postgres.fresh(migrated=False)
    url = postgres.url(name)
    folder = quote(url.split("host=")[1], safe="")
    names = [
        url,
        url.replace("postgresql://", "postgres://"),
        f"{url}&options=-c%20search_path%3Dpg_catalog",
        f"postgresql://postgres@{folder}/{name}",
        f"postgresql:///?user=postgres&dbname={name}&host={folder}",
    ]
    settings = settings_in(tmp_path, url=url)
    for one in names:
        beside = replace(settings, key_url=one)
        with pytest.raises(StorageError, match="keys beside the data protect nothing"):
            await Store.open(beside)
        (found,) = [finding async for finding in examine_data(beside) if finding.what == "keys"]
        assert "keys beside the data protect nothing" in found.said
    connection = await postgres.connect(name)
    assert await connection.fetch("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    await connection.close()
    async with await Store.open(settings):
        pass
    with pytest.raises(StorageError, match="keys beside the data protect nothing"):
        await move_keys(settings, names[3])
    shutil.rmtree(settings.data_dir, ignore_errors=True)
    await postgres.drop(name)


async def test_refused_moves_of_keys_change_nothing(bot, at, tmp_path):
    other = settings_in(tmp_path / "other")
    await move_keys(other, at.settings.key_url)
    before = await at.dump(), contents(bot.key_dir)

    with pytest.raises(StorageError, match="holds other or newer keys"):
        await move_keys(bot, at.settings.key_url)
    with pytest.raises(StorageError, match="are there already"):
        await move_keys(bot, "")
    with pytest.raises(StoreMissing, match="moved already"):
        await move_keys(other, at.settings.key_url)
    async with await Store.open(bot):
        with pytest.raises(AlreadyOpen):
            await move_keys(bot, at.settings.key_url)

    assert (await at.dump(), contents(bot.key_dir)) == before
