"""What tests of every folder may ask for."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.rig.postgres import running


@pytest.fixture(scope="session")
def postgres():
    """A running PostgreSQL server, shared by all tests; see :mod:`tests.rig.postgres`."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running())
        except Exception as exc:  # no package for this machine, or no room: P30 fails then, other tests wait
            pytest.skip(f"no PostgreSQL here: {exc}")
        yield server
