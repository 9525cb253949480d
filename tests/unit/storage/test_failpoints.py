"""Failpoints act only if a test activates them, and at the chosen pass."""

from __future__ import annotations

import sqlite3

import pytest

from storage.failpoints import FailpointReached, failpoint, switch_on


@pytest.fixture(autouse=True)
def off_again():
    yield
    switch_on("")


def test_a_failpoint_does_nothing_unless_switched_on():
    failpoint("writer.before-commit")


def test_it_fails_at_the_passing_that_was_asked_for():
    switch_on("writer.before-commit=raise@2")

    failpoint("writer.before-commit")
    failpoint("writer.after-commit")
    with pytest.raises(FailpointReached, match=r"writer\.before-commit"):
        failpoint("writer.before-commit")
    failpoint("writer.before-commit")


def test_it_fails_as_a_disk_does():
    switch_on("writer.before-commit=disk")

    with pytest.raises(sqlite3.OperationalError, match=r"disk I/O error"):
        failpoint("writer.before-commit")


def test_an_unknown_failpoint_is_refused_by_name():
    with pytest.raises(ValueError, match=r"writer\.nowhere"):
        switch_on("writer.nowhere=kill")
