"""Hooks and fixtures for the tests of every folder."""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from storage.settings import StorageSettings
from storage.store import Store
from tests.fakes import FixedClock
from tests.rig.postgres import running
from tests.rig.size import FULL

# A run in CI fails for what changed, never for what it happened to draw; at full size, new cases are drawn.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None)
if not FULL:
    hypothesis.settings.load_profile("repeatable")

QUICK = tuple(
    Path(__file__).parent / path
    for path in ("unit", "conformance", "attacks/test_host_files.py", "attacks/test_restore.py")
)
"""Folders and files of the quick tests; the two files are the tests of ``storage/maintenance``."""


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in :data:`QUICK` as ``quick`` unless they are slow, gpu or alone."""
    for item in items:
        in_folder = any(item.path.is_relative_to(folder) for folder in QUICK)
        if in_folder and not any(item.get_closest_marker(name) for name in ("slow", "gpu", "alone")):
            item.add_marker("quick")


def pytest_collection_finish() -> None:
    """Exempt the objects of imported libraries from garbage collection: each full one took a second."""
    gc.freeze()


@pytest.fixture(autouse=True)
def logging_of_python():
    """Put back what ``set_up_logging`` replaces for the whole process."""
    factory, shown = logging.getLogRecordFactory(), warnings.showwarning
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    yield
    logging.setLogRecordFactory(factory)
    warnings.showwarning = shown
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """Copy a new SQLite store, ``data`` and ``keys``, into a folder; faster than one migration per test."""
    template = tmp_path_factory.mktemp("empty store")
    made = StorageSettings(data_dir=template / "data", key_dir=template / "keys")

    async def make() -> None:
        await (await Store.open(made, now=FixedClock())).close()

    asyncio.run(make())

    def copy_into(folder: Path) -> None:
        shutil.copytree(template, folder, dirs_exist_ok=True)

    return copy_into


@pytest.fixture(scope="session")
def postgres():
    """A running PostgreSQL server, shared by all tests; see :mod:`tests.rig.postgres`."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running())
        except Exception as exc:  # no package for this machine, or no room: P30 fails then, other tests wait
            pytest.skip(f"no PostgreSQL here: {exc}")
        yield server
