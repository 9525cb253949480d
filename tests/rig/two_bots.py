"""Two bots under one master key, with copies of their data and keys, as a test of restores needs them."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from storage.maintenance.backup import back_up, back_up_keys
from storage.settings import StorageSettings
from storage.store import Store
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, posted, settings_in


async def lived(folder: Path) -> None:
    """Fill a folder: a bot, copies of its data and keys, and a reply and an erasure since; another bot."""
    settings, other = settings_in(folder / "bot"), settings_in(folder / "other")
    async with await Store.open(settings) as store:
        await posted(store, ALICE, FIRST)
        await store.consent.record(BOB)
    shutil.copy2(settings.key_dir / "ledger.db", folder / "old-ledger")
    back_up(settings, folder / "data")
    await back_up_keys(settings, folder / "keys")
    async with await Store.open(settings) as store:
        await posted(store, ALICE, SECOND)
        await store.privacy.forget(BOB.user_id)
    back_up(settings, folder / "new-data")
    other.key_dir.mkdir(parents=True, mode=0o700)
    shutil.copy2(settings.key_dir / "master.key", other.key_dir)  # as from one environment
    async with await Store.open(other) as store:
        await posted(store, ALICE, FIRST)
    back_up(other, folder / "other-data")
    await back_up_keys(other, folder / "other-keys")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as :func:`lived` fills it; copied by ``bot``."""
    folder = tmp_path_factory.mktemp("template")
    asyncio.run(lived(folder))
    return folder


@pytest.fixture
def bot(tmp_path: Path, template: Path) -> StorageSettings:
    """Return the settings of the first bot, in a copy of the template."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return settings_in(tmp_path / "bot")


def contents(folder: Path) -> dict[str, str]:
    """Return file -> hash, without empty locks."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".lock")
    }


async def replies_in(settings: StorageSettings) -> int:
    async with await Store.open(settings) as store:
        return (await store.privacy.summary(ALICE)).n_replies


def sql(path: Path, statement: str) -> Path:
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(statement)
        raw.commit()
    return path
