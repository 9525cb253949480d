"""P3: after ``/forget-me`` no byte of the member is left in any file.

A member's data is planted through every path that stores something: texts, ids, an emoji, a float32 vector of
features, a float16 head, the key itself. After the erasure all files of data, keys and ledger are scanned raw
for them in every form: UTF-8 and 16, base64 at three alignments, hex, JSON escapes, ids as decimal and as
eight bytes, vectors and ciphertexts in pieces of sixteen bytes. The scan finds nothing, also after a kill at
each step of the erasure and a restart. While another program reads the data file, the receipt reports the
remaining traces; once it stops, the next write removes them. The ledger keeps only the hashed number of a
destroyed key.

``make bench-trust`` measures the duration. Controls: deleted pages that are not overwritten, a log that is
not emptied, and a concurrent reader: in each case the scan finds traces.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from storage.database import sqlite
from storage.database.writer import Writer
from storage.failpoints import FAILPOINTS
from storage.store import Store
from tests.rig.canary import Canaries
from tests.rig.planted import ALICE, VECTOR, WEIGHTS, in_clear, plant, secrets_of, traces
from tests.unit.storage.given import settings_in

pytestmark = pytest.mark.promise("P3")

ROOT = Path(__file__).parents[2]
STEPS = [name for name in FAILPOINTS if name.startswith("forget.")]
VECTORS = Canaries().vector("features", VECTOR).vector("head", WEIGHTS)


def everything(folder: Path, store: Store) -> Canaries:
    """Return ciphertexts, pseudonyms and keys of the member, as they are now."""
    known = traces(folder, store)
    for secret in secrets_of(folder, store):
        known.secret("key", secret)
    return known


def left(known: Canaries, folder: Path) -> list[object]:
    return [*known.in_folder(folder), *in_clear(folder), *VECTORS.in_folder(folder)]


async def test_nothing_is_left_in_any_form(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await plant(store)
        known = everything(tmp_path, store)
        assert len(known.forms) > 60
        assert known.in_folder(tmp_path) != []

        receipt = await store.privacy.forget(ALICE.user_id)

        assert left(known, tmp_path) == []
        assert (receipt.n_traces, receipt.files_searched) == (0, True)
    assert left(known, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
async def test_nothing_is_left_after_a_kill_at_this_step_and_a_start(tmp_path, step):
    done = subprocess.run(
        [sys.executable, "-m", "tests.rig.forgetting", str(tmp_path), step],
        cwd=ROOT,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    known = Canaries()
    for line in done.stdout.splitlines():
        known.value("planted", bytes.fromhex(line.decode()))
    assert len(known.forms) > 60

    async with await Store.open(settings_in(tmp_path)):
        assert left(known, tmp_path) == []
    assert left(known, tmp_path) == []


def reading(folder: Path) -> sqlite3.Connection:
    """Let another program hold a read transaction on the data."""
    other = sqlite3.connect(folder / "data" / "data.db", isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM replies").fetchone()
    return other


async def test_while_another_program_reads_the_receipt_says_so_and_then_nothing_is_left(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await plant(store)
        known = everything(tmp_path, store)
        other = reading(tmp_path)

        receipt = await store.privacy.forget(ALICE.user_id)
        meanwhile = known.in_folder(tmp_path)
        other.close()
        await store.notes.put("any", "write")
        await store.notes.put("another", "write")

        assert receipt.n_traces > 0
        assert meanwhile != []  # control: a reader keeps old pages, and the scan finds them
        assert left(known, tmp_path) == []


@pytest.mark.parametrize("safeguard", ["secure_delete", "empty_log"])
async def test_control_without_the_safeguard_the_scan_finds_something(tmp_path, monkeypatch, safeguard):
    async def keep_log(_writer: Writer, wait_s: float = 0) -> None:
        pass

    if safeguard == "secure_delete":
        monkeypatch.setitem(sqlite.PRAGMAS, "secure_delete", 0)
    else:
        monkeypatch.setattr(Writer, "empty_log", keep_log)
    async with await Store.open(settings_in(tmp_path)) as store:
        await plant(store)
        known = traces(tmp_path, store)

        await store.privacy.forget(ALICE.user_id)

        assert known.in_folder(tmp_path) != []


async def test_control_a_vector_that_is_not_sealed_is_found(tmp_path):
    async with await Store.open(settings_in(tmp_path)) as store:
        await plant(store)
        (tmp_path / "data" / "cache").write_bytes(b"xyz" + np.asarray(VECTOR, "<f4").tobytes())

        assert {hit.canary for hit in VECTORS.in_folder(tmp_path)} == {"features as <f4"}
