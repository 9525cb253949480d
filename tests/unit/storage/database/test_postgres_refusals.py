"""A PostgreSQL server that refuses, for each reason that a wrong set-up has: one line says what to do.

The server is real, and really set up wrongly. Start and doctor say the same. No line holds the password.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil

import asyncpg
import pytest

from storage.errors import DatabaseFailed
from storage.maintenance.checkup import check_database, check_keys
from storage.store import Store
from tests.rig.own_postgres import HOST, OPEN, Authority, own_server, tls_front
from tests.unit.storage.given import settings_in

pytestmark = pytest.mark.slow

PASSWORD = "hunter2-is-wrong"
SCRAM = "host all all 127.0.0.1/32 scram-sha-256\n"
SET_UP = (
    "CREATE ROLE bot LOGIN PASSWORD 'right'",
    "CREATE ROLE no_login",
    "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0",
    "CREATE ROLE late LOGIN PASSWORD 'right' VALID UNTIL '2020-01-01'",
    "CREATE DATABASE good OWNER bot",
    "CREATE DATABASE readonly OWNER bot",
    "ALTER DATABASE readonly SET default_transaction_read_only = on",
    "CREATE DATABASE hidden",
    "REVOKE CONNECT ON DATABASE hidden FROM public",
    "CREATE DATABASE shut ALLOW_CONNECTIONS false",
    "CREATE DATABASE hasty OWNER bot",
    "ALTER DATABASE hasty SET statement_timeout = '1ms'",
)


@pytest.fixture(scope="module")
def running():
    with own_server() as server:
        yield server


@pytest.fixture
async def server(running, monkeypatch):
    """The server with its databases and without any other fault."""
    monkeypatch.setenv("SIMPATICO_DATABASE_PASSWORD", PASSWORD)
    if not running.is_set_up:
        await running.run(*SET_UP)
        running.is_set_up = True
    yield running
    if running.runs:
        await running.let_in()


async def refused(folder, url: str, caplog) -> str:
    """Return what start and doctor say about this database, which neither opens; both name one remedy."""
    said = []
    with caplog.at_level(logging.DEBUG):
        for number, opened in enumerate((lambda s: check_database(s, None), Store.open)):
            with pytest.raises(DatabaseFailed) as caught:
                await opened(settings_in(folder / str(number), url=url))
            said.append(str(caught.value))
    assert said[0].rpartition("; ")[2] == said[1].rpartition("; ")[2]
    assert "\n" not in "".join(said)
    assert PASSWORD not in "".join(said) + caplog.text
    return said[1]


@pytest.mark.parametrize(
    ("user", "database", "options", "access", "words"),
    [
        ("bot", "good", "", SCRAM, "28P01.*check the variable that .storage. password_env names"),
        ("nobody", "good", "", SCRAM, "28P01.*the password or the user is wrong"),
        ("late", "good", "", SCRAM, "28P01.*the password or the user is wrong"),
        ("nobody", "good", "", OPEN, "28000.*check the user, TLS and pg_hba.conf"),
        ("no_login", "good", "", OPEN, "28000.*check the user, TLS and pg_hba.conf"),
        ("bot", "good", "", "", "28000.*check the user, TLS and pg_hba.conf"),
        ("bot", "good", "", OPEN.replace("trust", "reject"), "28000.*check the user, TLS and pg_hba.conf"),
        ("bot", "nowhere", "", OPEN, "nowhere on .*3D000.*create it, or correct its name"),
        ("bot", "hidden", "", OPEN, "hidden on .*42501.*grant it CONNECT on the database"),
        ("bot", "shut", "", OPEN, "55000.*takes no connections; allow them"),
        ("crowded", "good", "", OPEN, "53300.*raise its limit or max_connections"),
        ("bot", "readonly", "", OPEN, "found a read-only one.*default_transaction_read_only = on"),
        (
            "bot",
            "good",
            "?options=-csearch_path%3Dnone",
            OPEN,
            "schema does not exist; create it, or correct",
        ),
        ("bot", "good", "?sslmode=require", OPEN, "the server offers no TLS; switch it on there"),
    ],
)
async def test_each_fault_of_the_server_is_one_line_with_its_remedy(
    server, tmp_path, caplog, user, database, options, access, words
):
    await server.let_in(access)

    said = await refused(tmp_path, server.url(database, user=user, options=options), caplog)

    assert re.search(words, said), said


@pytest.mark.parametrize(
    ("database", "options", "access", "words"),
    [
        ("good", "", SCRAM, "28P01.*or key_password_env for key_url"),
        ("nowhere", "", OPEN, r"nowhere on .*\(\[storage\] key_url\).*3D000.*create it, or correct its name"),
        ("readonly", "", OPEN, "found a read-only one.*default_transaction_read_only = on"),
        ("good", "?options=-csearch_path%3Dnone", OPEN, "schema does not exist; create it, or correct"),
        ("good", "?sslmode=require", OPEN, "the server offers no TLS; switch it on there"),
    ],
)
async def test_a_fault_of_the_server_of_the_keys_is_one_line_with_its_remedy(
    server, tmp_path, caplog, database, options, access, words
):
    """A start and the doctor name the remedy; the data are in a file."""
    await server.let_in(access)
    settings = settings_in(tmp_path, key_url=server.url(database, user="bot", options=options))
    with caplog.at_level(logging.DEBUG):
        for opened in (check_keys, Store.open):
            with pytest.raises(DatabaseFailed) as caught:
                await opened(settings)
            assert re.search(words, said := str(caught.value)), said
            assert "\n" not in said
            assert PASSWORD not in said + caplog.text


@pytest.mark.parametrize(
    ("trusts_it", "host", "days", "words"),
    [
        (False, HOST, 1, "no authority in sslrootcert vouches for the server"),
        (True, "127.0.0.9", 1, "is for another host; use its host name"),
        (True, HOST, -1, "has expired; renew it there"),
    ],
)
async def test_each_fault_of_a_certificate_is_one_line_with_its_remedy(
    server, tmp_path, caplog, trusts_it, host, days, words
):
    authority = Authority()
    root = tmp_path / "root.pem"
    root.write_bytes((authority if trusts_it else Authority()).root)
    async with tls_front(server.port, authority.server(host=host, days=days), tmp_path) as port:
        url = f"postgresql://bot@{HOST}:{port}/good?sslmode=verify-full&sslrootcert={root}"

        assert words in await refused(tmp_path, url, caplog)


async def test_a_good_certificate_and_a_hasty_database_are_no_fault(server, tmp_path):
    """A limit of the database on the time of statements does not hold for the bot."""
    authority, root = Authority(), tmp_path / "root.pem"
    root.write_bytes(authority.root)
    async with tls_front(server.port, authority.server(), tmp_path) as port:
        url = f"postgresql://bot@{HOST}:{port}/hasty?sslmode=verify-full&sslrootcert={root}"
        async with await Store.open(settings_in(tmp_path, url=url)):
            pass


async def test_a_file_of_certificates_that_holds_none_is_one_line(server, tmp_path, caplog):
    (tmp_path / "root.pem").write_text("none")
    url = server.url("good", user="bot", options=f"?sslmode=verify-full&sslrootcert={tmp_path}/root.pem")

    assert "TLS failed; check sslmode, and the files" in await refused(tmp_path, url, caplog)


@pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="needs the program pgbouncer on the PATH")
@pytest.mark.parametrize("takes_settings", [False, True])
@pytest.mark.parametrize("mode", ["session", "transaction", "statement"])
async def test_a_real_pgbouncer_is_refused_by_name(server, tmp_path, mode, takes_settings):
    words = "connection pooler.*direct address"
    with server.pooled(mode, takes_settings=takes_settings) as port:
        settings = settings_in(tmp_path, url=f"postgresql://bot@{HOST}:{port}/good")
        await answers(port)
        for opened in (check_database(settings, None), Store.open(settings)):
            with pytest.raises(DatabaseFailed, match=words):
                await opened


async def answers(port: int) -> None:
    """Wait until something listens on this port."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except ConnectionError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return


async def test_a_server_that_stops_or_is_a_standby_is_one_line(server, tmp_path, caplog):
    """Last, because the server is a standby from then on."""
    url = server.url("good", user="bot")
    stays = await asyncpg.connect(host=HOST, port=server.port, user="bot", database="good")
    server.stop("smart")
    stopping = await refused_when(tmp_path / "stopping", url, caplog, "57P03")
    await stays.close()
    stopped = await refused_when(tmp_path / "stopped", url, caplog, "ConnectionRefusedError")
    server.become_standby()
    server.start()

    standby = await refused(tmp_path / "standby", url, caplog)
    unfit = await refused(tmp_path / "unfit", f"{url}?target_session_attrs=read-write", caplog)

    assert "the server is starting or stopping; try again in a minute" in stopping
    assert "check that the server runs, and its host, port" in stopped
    assert "found a read-only one: a standby" in standby
    assert "no server of the address fits target_session_attrs; use the primary server" in unfit


async def refused_when(folder, url: str, caplog, state: str) -> str:
    """Return what is said once the server is in this state, which it reaches soon."""
    for attempt in range(600):
        try:
            said = await refused(folder / str(attempt), url, caplog)
        except (AssertionError, pytest.fail.Exception):  # opened, or changed between start and doctor
            continue
        if state in said:
            return said
    raise TimeoutError(state)
