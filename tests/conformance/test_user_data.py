"""The list of personal data covers the whole schema, and the privacy page shows the same list."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from storage.database import schema
from storage.keys import erasure_ledger as ledger
from storage.keys import wrapping
from storage.privacy.personal_data import PERSONAL_DATA, STAYS, Form, Kept, Whose
from storage.privacy.personal_data.privacy_page import HOLDS, main, page

PRIVACY = Path(__file__).parents[2] / "docs" / "privacy.md"
TABLES = {**schema.metadata.tables, **wrapping.metadata.tables, **ledger.metadata.tables}


def test_every_column_of_the_schema_is_in_the_list_once():
    columns = sorted((table.name, column.name) for table in TABLES.values() for column in table.c)

    listed = sorted((kept.table, kept.column) for kept in PERSONAL_DATA)

    assert listed == columns


def test_every_answer_about_a_column_is_given():
    unanswered = [
        kept for kept in PERSONAL_DATA if not all(str(answer).strip() for answer in fields_of(kept))
    ]

    assert unanswered == []
    assert {kept.table for kept in PERSONAL_DATA} == set(HOLDS)


def fields_of(kept: Kept) -> list[object]:
    return [getattr(kept, field.name) for field in dataclasses.fields(kept)]


def test_only_what_is_about_nobody_stays_after_everybody_left():
    """A refusal itself may stay, which the page states."""
    stays = {kept.table for kept in PERSONAL_DATA if kept.erased == STAYS}

    assert stays == {kept.table for kept in PERSONAL_DATA if kept.whose is Whose.NOBODY}


def test_the_privacy_page_is_what_the_list_says():
    written = PRIVACY.read_text("utf-8")

    assert page(written) == written, "run `make privacy`"


def test_the_command_writes_the_list_into_the_page(tmp_path):
    copy = tmp_path / "privacy.md"
    copy.write_text(
        PRIVACY.read_text("utf-8").replace("which models described the reply", "nonsense"), "utf-8"
    )

    main([str(copy)])

    assert copy.read_text("utf-8") == PRIVACY.read_text("utf-8")


def test_a_page_without_a_place_for_the_list_is_refused():
    with pytest.raises(ValueError, match="make privacy"):
        page("# Privacy\n")


def test_every_blob_is_sealed_or_a_pseudonym():
    blobs = {
        (table.name, column.name)
        for table in TABLES.values()
        for column in table.c
        if column.type.python_type is bytes
    }

    protected = {(kept.table, kept.column) for kept in PERSONAL_DATA if kept.form is not Form.PLAIN}

    assert protected == blobs
