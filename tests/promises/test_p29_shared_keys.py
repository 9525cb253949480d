"""P29, keys in a database: the master key is rotated for several hosts while bots run.

Two key stores on one database stand for two running hosts, each with its own copy of the key file. The first
call writes the next key, the operator copies it, the second call rewraps. It is cut short at each of its
moments and repeated. Both hosts go on, also after a restart; the old master key opens nothing any more. With
a program that prints the master key, two lines carry both through.

Control: a host that did not get the next key opens nothing, and says which file it used.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from storage.errors import KeyMissing, KeyUnreadable
from storage.failpoints import FailpointReached, switch_on
from storage.keys.key_store import KeyStore
from storage.maintenance.rotation import Step, rotate
from storage.records import MemberId
from storage.settings import StorageSettings
from tests.rig.key_places import DATABASE, FILES, host, keys_at
from tests.unit.storage.given import settings_in

pytestmark = [pytest.mark.promise("P29"), pytest.mark.slow]

ALICE, PERSON = MemberId(b"a" * 16), b"p" * 16
MOMENTS = ["rotate.after-next-key", "rotate.before-commit", "rotate.after-commit"]
OLD, NEW = (base64.b64encode(one * 32).decode() for one in (b"o", b"n"))


@pytest.fixture(autouse=True)
def no_failpoint():
    yield
    switch_on("")


@pytest.fixture
async def hosts(tmp_path, postgres):
    """The settings of two hosts with a bot each."""
    async with keys_at(DATABASE, settings_in(tmp_path), lambda: postgres) as at:
        yield [host(tmp_path / name, at) for name in ("here", "there")]


async def inside(work: Callable[[], object]) -> None:
    """Run a function as a query or a unit of work runs: inside ``run_sync``."""
    engine = create_async_engine("sqlite+aiosqlite://")
    try:
        async with engine.connect() as connection:
            await connection.run_sync(lambda _: work())
    finally:
        await engine.dispose()


async def read(keys: KeyStore) -> None:
    """Open the key of a member from the database."""
    keys.evict_opened()
    await inside(lambda: keys.key_of(ALICE))


async def started(stack: AsyncExitStack, hosts: list[StorageSettings]) -> list[KeyStore]:
    stores = [await KeyStore.open(one, data_exists=number > 0) for number, one in enumerate(hosts)]
    for keys in stores:
        stack.push_async_callback(keys.close)
    await inside(lambda: stores[0].make(ALICE, PERSON))
    return stores


async def test_hosts_that_run_go_on_through_a_rotation_cut_short_at_each_moment(hosts):
    here, there = hosts
    first = (here.key_dir / "master.key").read_bytes()
    async with AsyncExitStack() as stack:
        stores = await started(stack, hosts)
        for moment in MOMENTS:
            switch_on(f"{moment}=raise")
            with pytest.raises(FailpointReached):
                await rotate(here)
                shutil.copy2(here.key_dir / "master.key.next", there.key_dir)
                await rotate(here)
            switch_on("")
            if (here.key_dir / "master.key.next").exists():
                shutil.copy2(here.key_dir / "master.key.next", there.key_dir)
            for keys in stores:
                await read(keys)
        assert [(await rotate(one)).step for one in hosts] == [Step.CAUGHT_UP, Step.CAUGHT_UP]
        for keys in stores:
            await read(keys)
    for one in hosts:
        await (await KeyStore.open(one, data_exists=True)).close()
        assert not (one.key_dir / "master.key.next").exists()
    (there.key_dir / "master.key").write_bytes(first)
    with pytest.raises(KeyUnreadable):
        await KeyStore.open(there, data_exists=True)


async def test_control_a_host_without_the_next_key_opens_nothing_and_names_its_file(hosts):
    here, there = hosts
    async with AsyncExitStack() as stack:
        stores = await started(stack, hosts)
        await rotate(here)
        assert (await rotate(here)).step is Step.REWRAPPED
        await read(stores[0])

        with pytest.raises(KeyUnreadable, match=str(there.key_dir / "master.key")):
            await read(stores[1])


@pytest.mark.parametrize("place", [FILES, DATABASE])
async def test_a_program_carries_bots_that_run_through_a_rotation(tmp_path, request, place):
    program = tmp_path / "print-key"
    settings = settings_in(tmp_path, master_key_command=(str(program),))

    def prints(*lines: str) -> None:
        draft = Path(f"{program}.new")
        draft.write_text("#!/bin/sh\n" + "".join(f"echo {line}\n" for line in lines))
        draft.chmod(0o700)
        draft.replace(program)

    prints(OLD)
    async with AsyncExitStack() as stack:
        server = lambda: request.getfixturevalue("postgres")  # noqa: E731 - started only when needed
        at = await stack.enter_async_context(keys_at(place, settings, server))
        stores = await started(stack, [at.settings, at.settings])
        with pytest.raises(KeyMissing, match="master_key_command printed no second line"):
            await rotate(at.settings)
        prints(OLD, NEW)
        for _ in range(2):  # again is harmless
            assert await rotate(at.settings) == (Step.REWRAPPED, 1, at.settings.key_dir / "master.key.next")
        for keys in stores:
            await read(keys)
        prints(NEW)
        for keys in stores:
            await read(keys)
        await (await KeyStore.open(at.settings, data_exists=True)).close()
        prints(OLD)
        with pytest.raises(KeyUnreadable, match="found the one in the output of the program"):
            await KeyStore.open(at.settings, data_exists=True)
        assert not (at.settings.key_dir / "master.key").exists()
