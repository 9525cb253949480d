"""P39, moves: the data move between SQLite and PostgreSQL whole, or they stay.

A store with members, replies, reactions, heads and server settings moves to a real PostgreSQL and back. Every
table is compared byte by byte, the bot goes on with it, and forgetting works there. A move is killed at every
step and repeated, also after the bot went on with the old data. Refused moves (the bot runs, the target holds
other data, the data were moved elsewhere, there is nothing to move) change nothing.

Control: a row that is written wrongly is found by the comparison, and the old data are not marked.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy import select, update

from storage.database.schema import feedback, metadata, notes, origin
from storage.errors import AlreadyOpen, StorageError
from storage.failpoints import FailpointReached, switch_on
from storage.maintenance import moving
from storage.maintenance.moving import move
from storage.opening import MOVED, backend_of
from storage.records import NewHead, PriorRecord
from storage.settings import StorageSettings
from storage.store import Store
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, START, posted, round_of, settings_in

pytestmark = [pytest.mark.promise("P39"), pytest.mark.slow]
MOMENTS = ["move.begun", "move.page-copied", "move.compared", "move.marked"]
MANY = 60


@pytest.fixture(autouse=True)
def no_failpoint():
    yield
    switch_on("")


@pytest.fixture
async def there(postgres, tmp_path):
    """The settings of an empty PostgreSQL database, with the keys of the bot here."""
    name = await postgres.fresh(migrated=False)
    yield settings_in(tmp_path, url=postgres.url(name))
    await postgres.drop(name)


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    asyncio.run(lived(settings_in(folder)))
    return folder


@pytest.fixture
def here(tmp_path, template) -> StorageSettings:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return settings_in(tmp_path)


async def lived(settings: StorageSettings) -> None:
    async with await Store.open(settings) as store:
        for number, who in enumerate((ALICE, BOB)):
            for message_id in range(MANY):
                await posted(store, who, FIRST + 1000 * number + message_id)
        for who in (ALICE, BOB):
            await store.feedback.record_reaction(who, FIRST, "👍", added=True)
        await store.learning.record_prior(PriorRecord(b"prior", 2, START))
        await round_of(store, *[NewHead(store.member_id(who), b"head" * 8, 2) for who in (ALICE, BOB)])
        await store.safety.record_terms(store.guild_id(ALICE), ("a word",))
        await store.privacy.refuse(BOB)


async def rows_of(settings: StorageSettings) -> dict[str, list[tuple[object, ...]]]:
    """Map each table to its rows, without notes about moves."""
    async with AsyncExitStack() as stack:
        backend = backend_of(settings)
        await backend.open(stack)
        connection = await backend.connect_writer(stack)
        found = {}
        for table in metadata.sorted_tables:
            kept = [column for column in table.c if column is not origin.c.fence]  # counts openings
            rows = (await connection.execute(select(*kept))).all()
            found[table.name] = sorted(map(repr, (tuple(row) for row in rows if "mov" not in str(row[0]))))
        return found


async def test_data_move_to_postgres_and_back_and_go_on(here, there):
    before = await rows_of(here)
    moved = await move(here, there.url)

    assert await rows_of(there) == before
    assert moved.n_rows == sum(map(len, before.values()))
    async with await Store.open(there) as store:
        assert (await store.privacy.summary(ALICE)).n_replies == MANY
        await posted(store, ALICE, SECOND + 5000)
        await round_of(store, NewHead(store.member_id(ALICE), b"next" * 8, 2))
        assert (await store.privacy.forget(ALICE.user_id)).n_replies == MANY + 1

    here.data_dir.rename(here.data_dir.with_name("old"))
    after = await rows_of(there)
    await move(there, "")
    assert await rows_of(here) == after
    async with await Store.open(here) as store:
        assert (await store.privacy.summary(ALICE)).n_replies == 0


async def test_no_store_opens_data_that_were_moved(here, there):
    await move(here, there.url)

    with pytest.raises(StorageError, match="were moved to PostgreSQL database"):
        await Store.open(here)
    with pytest.raises(StorageError, match="were moved to PostgreSQL database"):
        await move(here, there.url)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_move_that_is_interrupted_goes_on(here, there, moment):
    before = await rows_of(here)
    switch_on(f"{moment}=raise")
    with pytest.raises(FailpointReached):
        await move(here, there.url)
    switch_on("")

    with pytest.raises(StorageError, match="was interrupted"):
        await Store.open(there)
    await move(here, there.url)

    assert await rows_of(there) == before
    async with await Store.open(there) as store:
        assert (await store.privacy.summary(ALICE)).n_replies == MANY


async def test_a_kill_in_the_middle_leaves_the_old_store(here, there):
    before = await rows_of(here)
    code = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom storage.maintenance.moving import move\n"
        "from storage.settings import StorageSettings\n"
        "data, keys, url = sys.argv[1:]\n"
        "asyncio.run(move(StorageSettings(data_dir=Path(data), key_dir=Path(keys)), url))\n"
    )
    killed = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code, here.data_dir, here.key_dir, there.url],
        env={"SIMPATICO_FAILPOINTS": "move.page-copied=kill@3"},
    )

    assert killed.returncode == -9
    assert await rows_of(here) == before
    await move(here, there.url)
    assert await rows_of(there) == before


async def test_a_running_bot_refuses_on_either_side(here, there):
    async with await Store.open(here):
        with pytest.raises(AlreadyOpen):
            await move(here, there.url)
    with pytest.raises(StorageError, match=r"there already"):
        await move(here, "")


async def test_other_data_in_the_target_stay(here, postgres, tmp_path):
    name = await postgres.fresh(migrated=False)
    other = settings_in(tmp_path / "other", url=postgres.url(name))
    async with await Store.open(other) as store:
        await posted(store, ALICE, FIRST)
    before = await rows_of(other)

    with pytest.raises(StorageError, match="holds other data"):
        await move(here, other.url)

    assert await rows_of(other) == before
    async with await Store.open(here) as store:
        assert (await store.privacy.summary(ALICE)).n_replies == MANY
    await postgres.drop(name)


async def interrupted(settings: StorageSettings, url: str) -> None:
    switch_on("move.compared=raise")
    with pytest.raises(FailpointReached):
        await move(settings, url)
    switch_on("")


async def test_a_move_that_was_given_up_for_a_while_begins_anew(here, there):
    """The bot goes on with the old data after an interruption: rows are changed, added and forgotten."""
    await interrupted(here, there.url)
    async with await Store.open(here) as store:
        await store.privacy.forget(ALICE.user_id)
        await posted(store, BOB, SECOND + 9000)
        await store.notes.put("pause", "yes")

    await move(here, there.url)

    assert await rows_of(there) == await rows_of(here)
    async with await Store.open(there) as store:
        assert (await store.privacy.summary(ALICE)).n_replies == 0


async def test_data_that_were_moved_go_to_no_second_place(here, there, postgres):
    """A move to one place was given up, and the data went to another, where the bot now runs."""
    elsewhere = await postgres.fresh(migrated=False)
    await interrupted(here, there.url)
    await move(here, postgres.url(elsewhere))

    with pytest.raises(StorageError, match=f"moved to PostgreSQL database {elsewhere}"):
        await move(here, there.url)
    with pytest.raises(StorageError, match="was interrupted"):
        await Store.open(there)
    await postgres.drop(elsewhere)


async def test_moving_back_over_the_old_file_says_what_lies_there(here, there):
    await move(here, there.url)

    with pytest.raises(StorageError, match="holds the data that were moved away from it; empty it"):
        await move(there, "")


async def test_a_bot_that_starts_during_a_move_does_not_open_the_old_data(here, there, monkeypatch):
    """It waits for the move, and then finds the mark: nothing is written past the last comparison."""
    await move(here, there.url)
    here.data_dir.rename(here.data_dir.with_name("old"))
    started: list[asyncio.Task[Store]] = []

    def start(moment: str) -> None:
        if moment == "move.page-copied" and not started:
            started.append(asyncio.get_running_loop().create_task(Store.open(there)))

    monkeypatch.setattr(moving, "failpoint", start)
    before = await rows_of(there)
    await move(there, "")

    with pytest.raises(StorageError, match=r"were moved to data\.db"):
        await started[0]
    assert await rows_of(here) == before


async def test_control_a_row_that_is_written_wrongly_is_found(here, there, monkeypatch):
    real = moving._write

    def write(connection, table, page) -> None:
        real(connection, table, page)
        if table is feedback:
            connection.execute(update(feedback).values(state=b"another"))

    monkeypatch.setattr(moving, "_write", write)

    for _ in range(2):  # the second one is resumed, and begins anew
        with pytest.raises(StorageError, match="feedback differs"):
            await move(here, there.url)
    async with AsyncExitStack() as stack:
        backend = backend_of(here)
        await backend.open(stack)
        connection = await backend.connect_writer(stack)
        assert (await connection.execute(select(notes).where(notes.c.key == MOVED))).first() is None
