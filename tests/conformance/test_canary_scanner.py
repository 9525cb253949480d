"""The canary scanner finds planted values in every form and place, and reports nothing else."""

from __future__ import annotations

import base64
import json
import sqlite3

import numpy as np
import pytest

from tests.rig import canary
from tests.rig.canary import Canaries, Hit, forms_of_bytes, forms_of_id, forms_of_text

TEXT = 'Zäubertext "schön" 🦊'
NUMBER = 822_333_444_555_666_777
KEY = bytes(range(7, 39))
RNG = np.random.default_rng(4)
VECTOR = RNG.standard_normal(40).astype(np.float32)
NOISE = RNG.bytes(5000)
ALL = Canaries().text("text", TEXT).id("id", NUMBER).secret("key", KEY).vector("vector", VECTOR)

PLANTED = {
    "utf-8": TEXT.encode(),
    "utf-16-le": TEXT.encode("utf-16-le"),
    "utf-16-be": TEXT.encode("utf-16-be"),
    "utf-16 with a mark": TEXT.encode("utf-16"),
    "hex": TEXT.encode().hex().encode(),
    "HEX": TEXT.encode().hex().upper().encode(),
    "json": json.dumps({"said": TEXT}).encode(),
    "repr": ascii(TEXT).encode(),
    "json, every letter": "".join(f"\\u{ord(c):04x}" for c in TEXT[:-1]).encode() + b"\\ud83e\\udd8a",
    "id in decimal": f"<@{NUMBER}>".encode(),
    "id in decimal, utf-16": str(NUMBER).encode("utf-16-le"),
    "id in hex": b"%x" % NUMBER,
    "id in 8 bytes le": NUMBER.to_bytes(8, "little"),
    "id in 8 bytes be": NUMBER.to_bytes(8, "big"),
    "key": KEY,
    "key in hex": KEY.hex().encode(),
    "vector": VECTOR.tobytes(),
    "vector as float16": VECTOR.astype(np.float16).tobytes(),
    "16 bytes of the vector": VECTOR.tobytes()[64:80],
    "16 bytes of the float16 vector": VECTOR.astype(np.float16).tobytes()[32:48],
} | {
    f"{what} in {how.__name__}, {shift} bytes after its start": how(b"." * shift + value + b"!?")
    for shift in range(6)
    for what, value in (("text", TEXT.encode()), ("id", str(NUMBER).encode()), ("key", KEY))
    for how in (base64.b64encode, base64.urlsafe_b64encode)
}  # fmt: skip


@pytest.mark.parametrize("how", PLANTED)
def test_the_scanner_finds_what_is_planted(tmp_path, how):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(NOISE[:333] + PLANTED[how] + NOISE[:77])

    found = ALL.in_folder(tmp_path)

    assert {hit.where for hit in found} == {"deep/file"}
    name = how.split()[0] if how.split()[0] in ("id", "key") else "vector" if "vector" in how else "text"
    assert {hit.canary.split()[0] for hit in found} == {name}
    assert ALL.in_bytes(PLANTED[how]) != []


def test_every_form_of_every_canary_is_found_at_its_place():
    for form in ALL.forms:
        content = NOISE[:1000] + form.value + NOISE[:1000]

        assert Hit("blob", form.canary, form.form, 1000, form.value) in ALL.in_bytes(content, "blob")


def test_nothing_is_found_where_nothing_is(tmp_path):
    (tmp_path / "noise").write_bytes(RNG.bytes(3_000_000))
    (tmp_path / "zeros").write_bytes(bytes(100_000))

    assert ALL.in_folder(tmp_path) == []


def test_a_form_is_found_across_the_pieces_that_are_read(monkeypatch):
    monkeypatch.setattr(canary, "PIECE", 50)

    for start in range(30, 70):
        found = ALL.in_bytes(b"." * start + KEY + b"." * 90, "blob")
        assert [hit for hit in found if hit.form == "raw"] == [Hit("blob", "key", "raw", start, KEY)]


def test_the_name_of_a_file_is_looked_at_too(tmp_path):
    (tmp_path / f"export-{NUMBER}.json").write_bytes(b"")

    assert {hit.canary for hit in ALL.in_folder(tmp_path)} == {"id"}


def test_a_page_of_a_database_and_its_log_are_looked_at(tmp_path):
    database = sqlite3.connect(tmp_path / "data.db")
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE kept (said TEXT, number INTEGER)")
    database.execute("INSERT INTO kept VALUES (?, ?)", (TEXT, NUMBER))
    database.commit()

    assert {(hit.where, hit.canary) for hit in ALL.in_folder(tmp_path)} == {
        ("data.db-wal", "text"),
        ("data.db-wal", "id"),
    }
    database.close()
    assert {hit.where for hit in ALL.in_folder(tmp_path)} == {"data.db"}


def test_lines_of_a_log_are_looked_at():
    assert ALL.in_text(["all is well", f"user {NUMBER} said it"]) == [
        Hit("log", "id", "decimal raw", 17, str(NUMBER).encode()),
    ]


def test_a_canary_too_short_to_mean_anything_is_refused():
    with pytest.raises(ValueError, match="expected 7 or more"):
        Canaries().text("note", "hello")


def test_forms_do_not_depend_on_their_neighbours():
    for forms in (forms_of_text(TEXT), forms_of_id(NUMBER), forms_of_bytes(KEY)):
        assert all(len(value) >= canary.SHORTEST for _, value in forms)
