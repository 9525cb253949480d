"""A store with a fixed clock, on SQLite and on PostgreSQL.

Every test that uses ``settings``, directly or through ``store``, runs on both, unless it is marked
``@pytest.mark.sqlite_only("why")``. The proof of P30 counts them. The runs on
PostgreSQL are marked slow: `make check` runs SQLite alone, `make test` both.
"""

import pytest

from storage.store import Store
from tests.fakes import FixedClock
from tests.unit.storage.given import settings_in


def pytest_generate_tests(metafunc):
    if "settings" in metafunc.fixturenames and metafunc.definition.get_closest_marker("sqlite_only") is None:
        on_postgres = pytest.param("postgres", marks=pytest.mark.slow)
        metafunc.parametrize("database", ["sqlite", on_postgres], indirect=True)


@pytest.fixture
async def database(request):
    """The URL of a new database; empty for SQLite, whose file is in the data folder."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield ""
        return
    server = request.getfixturevalue("postgres")
    name = await server.fresh()
    yield server.url(name)
    await server.drop(name)


@pytest.fixture
def settings(tmp_path, database):
    return settings_in(tmp_path, url=database)


@pytest.fixture
def clock():
    return FixedClock()


@pytest.fixture
async def store(settings, clock, tmp_path, empty_store):
    if not settings.url:
        empty_store(tmp_path)
    async with await Store.open(settings, now=clock) as store:
        yield store
