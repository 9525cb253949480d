"""P44: administrative acts are on record.

The commands and the running bot write the acts. Then the record is damaged in every way: each line changed,
dropped, doubled, swapped with another, the end cut off, the tip removed. ``simpatico audit --verify`` must
refuse each of them, also after more acts were recorded. A kill between the line and the tip leaves a sound
record, and a check beside a running bot raises no false alarm.

Control: a record without a chain (the hashes made again for a changed line, line by line, as a plain checksum
per line would allow) is refused too; with the link to the line before it left out of the check, it passes.
Without a look at the tip before each act, the next act covers a dropped end.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.commands.main import EXIT_STORAGE, run
from storage.maintenance import audit_trail
from storage.maintenance.audit_trail import Act, AuditBroken, AuditTrail
from storage.settings import StorageSettings

pytestmark = pytest.mark.promise("P44")
N = 6
AT = datetime(2026, 11, 30, tzinfo=UTC)


def settings_in(folder: Path) -> StorageSettings:
    return StorageSettings(data_dir=folder / "data", key_dir=folder / "keys")


@pytest.fixture
def settings(tmp_path) -> StorageSettings:
    found = settings_in(tmp_path)
    found.data_dir.mkdir()
    found.key_dir.mkdir()
    return found


@pytest.fixture
def trail(settings) -> AuditTrail:
    trail = AuditTrail(settings, lambda: AT)
    record(trail)
    return trail


def record(trail: AuditTrail) -> None:
    for number in range(N):
        trail.record(list(Act)[number], count=number)


def damages() -> dict[str, object]:
    """Name -> what turns the right lines into wrong ones."""
    found = {}
    for i in range(N):
        found[f"{i} dropped"] = lambda lines, i=i: lines[:i] + lines[i + 1 :]
        found[f"{i} doubled"] = lambda lines, i=i: lines[: i + 1] + lines[i:]
        found[f"{i} count changed"] = lambda lines, i=i: replaced(lines, i, f'"count": {i}', '"count": 77')
        found[f"{i} time changed"] = lambda lines, i=i: replaced(lines, i, "2026-11-30", "2026-11-29")
        found[f"{i} spaced"] = lambda lines, i=i: replaced(lines, i, ": ", ":  ")
        found[f"{i} to nonsense"] = lambda lines, i=i: [*lines[:i], "[1, 2]", *lines[i + 1 :]]
        found[f"{i} made empty"] = lambda lines, i=i: [*lines[:i], "", *lines[i + 1 :]]
        for j in range(i):
            found[f"{i} and {j} swapped"] = lambda lines, i=i, j=j: swapped(lines, i, j)
        if i:
            found[f"cut to {i}"] = lambda lines, i=i: lines[:i]
    found["all dropped"] = lambda lines: []
    return found


def replaced(lines: list[str], i: int, old: str, new: str) -> list[str]:
    return [*lines[:i], lines[i].replace(old, new), *lines[i + 1 :]]


def swapped(lines: list[str], i: int, j: int) -> list[str]:
    lines = list(lines)
    lines[i], lines[j] = lines[j], lines[i]
    return lines


def damage(settings: StorageSettings, how) -> None:
    path = settings.data_dir / audit_trail.FILE
    before = path.read_text()
    after = "".join(line + "\n" for line in how(before.splitlines()))
    assert after != before
    path.write_text(after)


def test_a_record_says_what_was_done(trail):
    found = trail.verify()

    assert [(entry.number, entry.act, entry.details) for entry in found] == [
        (number + 1, str(list(Act)[number]), {"count": number}) for number in range(N)
    ]


@pytest.mark.parametrize("how", damages().values(), ids=damages())
def test_a_line_that_is_changed_dropped_or_reordered_shows(settings, trail, how):
    damage(settings, how)

    with pytest.raises(AuditBroken):
        trail.verify()


def test_a_change_still_shows_after_more_acts(settings, trail):
    damage(settings, damages()["2 count changed"])
    trail.record(Act.PAUSE)

    with pytest.raises(AuditBroken, match="line 3"):
        trail.verify()


def test_the_tip_is_needed(settings, trail):
    (settings.key_dir / audit_trail.TIP).unlink()

    with pytest.raises(AuditBroken):
        trail.verify()


def dropped_end(settings: StorageSettings) -> None:
    damage(settings, damages()["cut to 4"])


def emptied(settings: StorageSettings) -> None:
    damage(settings, damages()["all dropped"])


def without_tip(settings: StorageSettings) -> None:
    (settings.key_dir / audit_trail.TIP).unlink()


def nonsense_as_tip(settings: StorageSettings) -> None:
    (settings.key_dir / audit_trail.TIP).write_bytes(b"\xff\x00")


def bytes_in_a_line(settings: StorageSettings) -> None:
    path = settings.data_dir / audit_trail.FILE
    path.write_bytes(path.read_bytes().replace(b'"count": 2', b'"count": \xff'))


ENDS = [dropped_end, emptied, without_tip, nonsense_as_tip, bytes_in_a_line]


def still_shows(settings: StorageSettings, trail: AuditTrail, how: Callable[[StorageSettings], None]) -> None:
    how(settings)
    for _ in range(3):
        trail.record(Act.START)
        with pytest.raises(AuditBroken):
            trail.verify()


@pytest.mark.parametrize("how", ENDS)
def test_what_was_done_to_the_end_shows_for_good_after_more_acts(settings, trail, how):
    still_shows(settings, trail, how)


def test_control_without_the_tip_at_each_act_the_next_act_covers_a_dropped_end(settings, trail, monkeypatch):
    monkeypatch.setattr(AuditTrail, "_link", lambda self, lines: audit_trail._digest_of(lines[-1]))

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        still_shows(settings, trail, dropped_end)


def verified_while_an_act_is_recorded(settings: StorageSettings) -> int:
    """Record an act at the moment when the check has read the lines, but not the tip; return the acts."""

    class Slow(AuditTrail):
        def _read_tip(self) -> tuple[int, str]:
            other.start()
            other.join(0.3)
            return super()._read_tip()

    other = threading.Thread(target=AuditTrail(settings).record, args=[Act.PAUSE])
    try:
        return len(Slow(settings).verify())
    finally:
        other.join()


def test_a_check_beside_a_running_bot_raises_no_false_alarm(settings, trail):
    assert verified_while_an_act_is_recorded(settings) == N
    assert len(trail.verify()) == N + 1


def test_control_without_the_lock_of_the_reader_the_check_alarms(settings, trail, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    trail.record(Act.RESUME)

    with pytest.raises(AuditBroken):
        verified_while_an_act_is_recorded(settings)


def test_with_postgresql_the_trail_makes_its_folder(tmp_path, settings):
    settings.data_dir.rmdir()

    AuditTrail(settings).record(Act.START)

    assert len(AuditTrail(settings).verify()) == 1


def made_again(lines: list[str]) -> list[str]:
    """Change line 2 and compute its own hash again, as someone who knows the format can."""
    fields = json.loads(lines[1])
    fields["details"] = {"count": 77}
    del fields["hash"]
    return [lines[0], audit_trail._line(fields), *lines[2:]]


def test_a_hash_that_is_made_again_breaks_the_link(settings, trail):
    damage(settings, made_again)

    with pytest.raises(AuditBroken, match="line 3 does not follow"):
        trail.verify()


def test_control_without_the_link_a_change_passes(settings, trail):
    damage(settings, made_again)
    lines = (settings.data_dir / audit_trail.FILE).read_text().splitlines()

    assert [audit_trail._parsed(line).number for line in lines] == [
        1,
        2,
        3,
        4,
        5,
        6,
    ]  # each line alone is sound


def test_a_kill_between_line_and_tip_leaves_a_sound_record(settings, trail):
    code = (
        "import sys; from pathlib import Path\n"
        "from storage.settings import StorageSettings\n"
        "from storage.maintenance.audit_trail import Act, AuditTrail\n"
        "data, keys = map(Path, sys.argv[1:])\n"
        "AuditTrail(StorageSettings(data_dir=data, key_dir=keys)).record(Act.PAUSE)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, settings.data_dir, settings.key_dir],
        env={"SIMPATICO_FAILPOINTS": "audit.after-line=kill"},
    )

    assert killed.returncode == -9
    assert [entry.act for entry in trail.verify()][-1] == Act.PAUSE
    trail.record(Act.RESUME)
    assert len(trail.verify()) == N + 2


def test_a_torn_line_is_cut_off(settings, trail):
    with (settings.data_dir / audit_trail.FILE).open("a") as file:
        file.write('{"n": 7, "at": "20')

    trail.record(Act.RESUME)

    assert [entry.number for entry in trail.verify()] == list(range(1, N + 2))


def test_the_command_verifies_prints_and_refuses(tmp_path, monkeypatch, capsys, empty_store):
    empty_store(tmp_path)
    settings = settings_in(tmp_path)
    record(AuditTrail(settings, lambda: AT))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[storage]\ndata_dir = "data"\nkey_dir = "keys"\n')

    sound = run(["audit", "--verify"]), capsys.readouterr().out
    listed = run(["audit"]), capsys.readouterr().out.splitlines()
    damage(settings, damages()["0 dropped"])
    broken = run(["audit", "--verify"]), capsys.readouterr().err

    assert sound[0] == 0
    assert sound[1].startswith("The record is unchanged: 6 acts")
    assert listed[0] == 0
    assert len(listed[1]) == N
    assert broken[0] == EXIT_STORAGE
    assert "line 1" in broken[1]


def test_commands_write_what_they_did(tmp_path, monkeypatch, empty_store, settings):
    empty_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[storage]\ndata_dir = "data"\nkey_dir = "keys"\n')

    for command in (["backup", "copy.db"], ["forget", "123"], ["rotate-key"], ["restore", "copy.db"]):
        assert run(command) == 0
    assert run(["restore", "copy.db", "--accept-ledger-loss"]) == 0
    assert run(["move", "--to", "sqlite"]) == 0  # the data are there already: no act
    assert run(["restore", "missing.db"]) == EXIT_STORAGE
    assert run(["ledger"]) == 0

    acts = AuditTrail(settings).verify()
    assert [entry.act for entry in acts] == ["backup", "forget", "rotate-key", "restore", "restore"]
    assert acts[-1].details == {"accept_ledger_loss": 1}
    assert "123" not in " ".join(str(entry.details) for entry in acts)
