"""P9: personal data is always encrypted and bound to its place.

* During a load of random histories no file contains a word, an id or a vector in clear (the soak test
  continues this for any duration).
* Every value in every sealed column of both databases, and every older version of it, is put in the place of
  every other: across members, tables, columns, rows and versions. Nothing opens, and the store rejects it.
* Every bit of a sealed value is flipped, and every shorter prefix is tried: nothing opens.
* No nonce repeats in 10^6 values (20,000 in CI).

Controls: a value written without sealing is found; without the binding, swapped values open; without
authentication, flipped bits open; with a short counter instead of random numbers, nonces repeat.
"""

from __future__ import annotations

import random
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from storage.errors import SealBroken
from storage.keys.sealing import NONCE_BYTES, SealingKey, Slot
from storage.members.wishes import Wish
from storage.privacy.personal_data import PERSONAL_DATA, Form
from storage.records import NewHead, PriorRecord, Who
from storage.servers.stored_settings import GuildRecord
from storage.store import Store
from tests.fakes import HashEncoder
from tests.rig.canary import Canaries
from tests.rig.counterfactual import made_keys, outcome_of
from tests.rig.histories import Asked, random_history
from tests.rig.size import sized
from tests.unit.storage.given import ALICE, BOB, START, posted, round_of, settings_in

pytestmark = pytest.mark.promise("P9")

SLOT = Slot("feedback", "state", 1, b"m" * 16, 7)
N_WRITES = sized(ci=20_000, full=1_000_000)


@dataclass(frozen=True)
class Cell:
    """One sealed value: its key, the place it was sealed for, and whether it is the current value there."""

    key: SealingKey
    slot: Slot
    sealed: bytes
    stands: bool


async def filled(folder: Path) -> Store:
    """Two members with two replies each, reactions that changed, heads, and a prior."""
    store = await Store.open(settings_in(folder))
    for who, messages in ((ALICE, (1, 2)), (BOB, (3, 4))):
        for message in messages:
            await posted(store, who, message)
    for message in (1, 2, 3, 4):
        for who in (ALICE, BOB):
            await store.feedback.record_reaction(who, message, "👍", added=True)
            await store.feedback.record_reaction(who, message, "👎", added=True)
    for words in ("like a pirate", "like an owl"):
        for who in (ALICE, BOB):
            await store.wishes.put(who, Wish(("short",), words))
    await store.learning.record_prior(PriorRecord(b"the average taste", 2, START))
    for version in (1, 2):
        record = GuildRecord({"persona": f"persona {version}"}, {":1": 1.0})
        await store.guild_settings.change(ALICE.guild_id, lambda _, record=record: record)
        heads = [NewHead(store.member_id(who), b"a learnt taste %d" % version, 2) for who in (ALICE, BOB)]
        await round_of(store, *heads)
    return store


def sealed_values(folder: Path) -> dict[tuple[str, str], list[bytes]]:
    """Return (table, column) -> every value of every column that the map lists as sealed."""
    found: dict[tuple[str, str], list[bytes]] = {}
    for path in (folder / "data" / "data.db", folder / "keys" / "keys.db"):
        raw = sqlite3.connect(path)
        present = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for kept in PERSONAL_DATA:
            if kept.form is Form.SEALED and kept.table in present:
                values = raw.execute(f"SELECT {kept.column} FROM {kept.table}").fetchall()
                found[kept.table, kept.column] = [value for (value,) in values if value is not None]
        raw.close()
    return found


@pytest.fixture
async def cells(tmp_path, monkeypatch) -> list[Cell]:
    """Every value that was sealed while a store was filled, as the program sealed it."""
    made: list[tuple[SealingKey, Slot, bytes]] = []
    seal = SealingKey.seal

    def noted(self: SealingKey, value: bytes, slot: Slot) -> bytes:
        made.append((self, slot, seal(self, value, slot)))
        return made[-1][2]

    monkeypatch.setattr(SealingKey, "seal", noted)
    await (await filled(tmp_path)).close()
    stored = sealed_values(tmp_path)
    stands = {value for values in stored.values() for value in values}
    assert stands <= {sealed for _, _, sealed in made}, "a sealed column holds a value that was not sealed"
    assert {(slot.table, slot.column) for _, slot, sealed in made if sealed in stands} >= stored.keys() - {
        key for key, values in stored.items() if not values
    }
    return [Cell(key, slot, sealed, sealed in stands) for key, slot, sealed in made]


def opened_elsewhere(cells: list[Cell]) -> list[tuple[Slot, Slot]]:
    """Return which sealed values open at the place of another: (from, to)."""
    swapped = []
    for there in cells:
        for here in cells:
            if here.slot != there.slot:
                try:
                    here.key.open(there.sealed, here.slot)
                except SealBroken:
                    continue
                swapped.append((there.slot, here.slot))
    return swapped


async def test_nothing_opens_at_another_place(cells):
    assert all(cell.key.open(cell.sealed, cell.slot) for cell in cells)
    assert len({cell.slot.table for cell in cells}) >= 7
    assert len([cell for cell in cells if not cell.stands]) >= 8, "older versions take part"

    assert opened_elsewhere(cells) == []


async def test_control_without_the_binding_swapped_values_open(cells, monkeypatch):
    bare = [Cell(cell.key, cell.slot, b"", cell.stands) for cell in cells]
    monkeypatch.setattr(Slot, "associated_data", lambda self: b"")
    sealed = [Cell(c.key, c.slot, c.key.seal(b"value", c.slot), c.stands) for c in bare]

    assert len(opened_elsewhere(sealed)) > len(sealed), "within one member's key everything opens everywhere"


async def test_the_store_refuses_what_was_swapped(tmp_path):
    store = await filled(tmp_path)
    alice, bob = store.member_id(ALICE), store.member_id(BOB)
    before = await store.learning.feedback_of([alice, bob], 100)
    await store.close()
    raw = sqlite3.connect(tmp_path / "data" / "data.db")
    for table, column in (("feedback", "state"), ("heads", "body"), ("wishes", "body"), ("replies", "texts")):
        values = dict(raw.execute(f"SELECT member_id, max({column}) FROM {table} GROUP BY member_id"))
        for here, there in ((alice, bob), (bob, alice)):
            raw.execute(f"UPDATE {table} SET {column} = ? WHERE member_id = ?", (values[there], here))
    raw.commit()
    raw.close()

    async with await Store.open(settings_in(tmp_path)) as store:
        after = await store.learning.feedback_of([alice, bob], 100)
        for who in (ALICE, BOB):
            with pytest.raises(SealBroken):
                await store.wishes.of(who)
            with pytest.raises(SealBroken):
                await store.learning.head_of(store.member_id(who))
            with pytest.raises(SealBroken):
                await store.replies.latest(who)

    assert [len(rows) for rows in before.values()] == [4, 4]
    assert [len(rows) for rows in after.values()] == [0, 0]


def changed(sealed: bytes) -> list[bytes]:
    """Yield the value with each of its bits flipped, and each of its prefixes."""
    flipped = [
        sealed[:at] + bytes([sealed[at] ^ (1 << bit)]) + sealed[at + 1 :]
        for at in range(len(sealed))
        for bit in range(8)
    ]
    return flipped + [sealed[:length] for length in range(len(sealed))]


def opens(key: SealingKey, sealed: bytes) -> bool:
    try:
        key.open(sealed, SLOT)
    except SealBroken:
        return False
    return True


def test_no_flipped_bit_and_no_shorter_piece_opens():
    key = SealingKey(secrets.token_bytes(32))
    sealed = key.seal(b"the emoji that stand, and the rating", SLOT)

    assert opens(key, sealed)
    assert [value for value in changed(sealed) if opens(key, value)] == []


class NoAuthentication(SealingKey):
    """Cipher with the same encryption but no authentication: counter mode alone."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def seal(self, value: bytes, slot: Slot) -> bytes:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return b"\x01" + nonce + self._turned(nonce, value)

    def open(self, sealed: bytes, slot: Slot) -> bytes:
        return self._turned(sealed[1:13].ljust(12, b"\0"), sealed[13:])

    def _turned(self, nonce: bytes, value: bytes) -> bytes:
        return Cipher(algorithms.AES(self.raw), modes.CTR(nonce + bytes(4))).encryptor().update(value)


def test_control_without_authentication_flipped_bits_open():
    key = NoAuthentication(secrets.token_bytes(32))
    sealed = key.seal(b"the emoji that stand, and the rating", SLOT)

    assert all(opens(key, value) for value in changed(sealed))


def n_nonces() -> int:
    """Return the number of distinct nonces in ``N_WRITES`` values of one member."""
    key = SealingKey(secrets.token_bytes(32))
    return len({key.seal(b"", SLOT)[1 : 1 + NONCE_BYTES] for _ in range(N_WRITES)})


def test_no_nonce_comes_twice():
    assert n_nonces() == N_WRITES


def test_control_with_a_short_counter_nonces_come_twice(monkeypatch):
    counter = iter(range(10 * N_WRITES))

    def short(n_bytes: int) -> bytes:
        return (next(counter) % 2**12).to_bytes(n_bytes) if n_bytes == NONCE_BYTES else bytes(n_bytes)

    monkeypatch.setattr(secrets, "token_bytes", short)

    assert n_nonces() == 2**12


PEOPLE = [Who(711_222_333_444_555_666, 822_333_444_555_000_000 + number) for number in range(6)]


def loaded():
    """A history whose every word, id and vector is a canary."""
    history = random_history(random.Random(9), PEOPLE, n_asked=sized(ci=12, full=1000))
    secret = Canaries().id("guild", PEOPLE[0].guild_id)
    for who in PEOPLE:
        secret.id("member", who.user_id)
    asked = [event for event in history if isinstance(event, Asked)]
    vectors = HashEncoder(16).encode([event.reply for event in asked])
    for event, vector in zip(asked, vectors, strict=True):
        secret.text("said", event.said).vector("features", np.asarray(vector))
        if len(event.reply) > 12:
            secret.text("reply", event.reply)
    return history, secret


async def test_no_file_holds_anything_in_clear_during_a_load(tmp_path):
    history, secret = loaded()
    found = []

    await outcome_of(
        history,
        tmp_path / "run",
        made_keys(tmp_path / "keys"),
        then=lambda _: found.extend(secret.in_folder(tmp_path / "run", but=["master.key"])),
    )

    assert found == []
    assert secret.in_folder(tmp_path, but=["master.key"]) == []


async def test_control_without_sealing_words_ids_and_vectors_are_found(tmp_path, monkeypatch):
    history, secret = loaded()
    monkeypatch.setattr(SealingKey, "seal", lambda self, value, slot: b"\x01" + value)
    monkeypatch.setattr(SealingKey, "open", lambda self, sealed, slot: sealed[1:])

    await outcome_of(history, tmp_path / "run", made_keys(tmp_path / "keys"))

    assert {"reply", "features as <f4"} <= {hit.canary for hit in secret.in_folder(tmp_path / "run")}
