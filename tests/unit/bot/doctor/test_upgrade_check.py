"""``simpatico upgrade-check``: names what a start would change in released data, and changes no byte."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace

import pytest

from bot.config import Settings
from bot.doctor import upgrade
from bot.doctor.upgrade import examine_upgrade
from storage.database.migrations import _known_revisions
from storage.store import Store
from tests.rig.released import RELEASED, restore, settings_in
from tests.unit.bot.doctor.findings import listed, verdicts

REVISIONS = sorted(path.name for path in RELEASED.iterdir())
NEWEST = _known_revisions()[0]


def settings(folder) -> Settings:
    return replace(Settings(), storage=settings_in(folder))


def contents(folder) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "data.lock"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_released_state_is_told_its_changes_and_keeps_every_byte(revision, tmp_path):
    restore(revision, tmp_path)
    before = contents(tmp_path)

    found = await listed(examine_upgrade(settings(tmp_path)))

    changes = [finding.said for finding in found if finding.what == "change"]
    assert [change[:4] for change in changes] == [one for one in REVISIONS if one > revision]
    assert all(len(change) > 10 for change in changes)
    assert verdicts(found)["upgrade"] == ("ok" if revision == NEWEST else "warning")
    assert contents(tmp_path) == before


async def test_without_data_there_is_nothing_to_change(tmp_path):
    found = await listed(examine_upgrade(settings(tmp_path)))
    assert verdicts(found)["upgrade"] == "ok"
    assert contents(tmp_path) == {}


async def test_data_in_use_are_left_alone(tmp_path):
    store = await Store.open(settings(tmp_path).storage)
    try:
        found = await listed(examine_upgrade(settings(tmp_path)))
    finally:
        await store.close()
    assert verdicts(found)["upgrade"] == "warning"
    assert "stop it" in found[-1].said


async def test_lost_keys_are_told_before_the_upgrade(tmp_path):
    restore(REVISIONS[0], tmp_path)
    shutil.rmtree(tmp_path / "keys")
    found = await listed(examine_upgrade(settings(tmp_path)))
    assert "upgrade" not in verdicts(found)
    assert "failed" in verdicts(found).values()


async def test_a_full_disk_is_told_before_the_upgrade(tmp_path, monkeypatch):
    restore(REVISIONS[0], tmp_path)
    monkeypatch.setattr(upgrade, "size_of_data", lambda _: 2**60)
    assert verdicts(await listed(examine_upgrade(settings(tmp_path))))["room"] == "failed"
