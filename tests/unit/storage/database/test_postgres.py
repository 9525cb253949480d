"""PostgreSQL is opened safely: no password in the configuration, settings read back, recovery from losses."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import insert, select, text

from storage.database import postgres as postgres_module
from storage.database import postgres_address, postgres_peers
from storage.database.postgres import PostgresBackend
from storage.database.schema import notes
from storage.database.writer import Writer
from storage.errors import DatabaseFailed, StorageError
from storage.maintenance.checkup import check_database
from storage.store import Store
from tests.rig.relay import Line, relayed
from tests.unit.storage.given import ALICE, FIRST, posted, settings_in, standing


@pytest.fixture
async def database(postgres):
    name = await postgres.fresh()
    yield name
    await postgres.drop(name)


@pytest.fixture
async def admin(postgres, database):
    """A connection from outside the store."""
    connection = await postgres.connect(database)
    yield connection
    await connection.close()


@pytest.fixture
async def backend(postgres, database):
    async with AsyncExitStack() as stack:
        backend = PostgresBackend(postgres.url(database), "NO_PASSWORD")
        await backend.open(stack)
        yield backend


@pytest.fixture
async def connection(backend):
    async with AsyncExitStack() as stack:
        yield await backend.connect_writer(stack)


@pytest.fixture
async def writer(backend, connection):
    writer = Writer(connection, backend, wait_s=0.005)
    yield writer
    await writer.close()


@pytest.fixture
async def reader(backend):
    reader = backend.reader()
    yield reader
    await reader.close()


def note(key):
    return lambda connection: connection.execute(insert(notes).values(key=key, value="")) and None


def keys(connection):
    return sorted(connection.execute(select(notes.c.key)).scalars())


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://bot:hunter2@db/simpatico", "found a password in it; move it to the variable PW"),
        ("postgresql://bot@db/simpatico?password=hunter2", "found a password in it"),
        ("mysql://bot@db/simpatico", "found mysql://"),
        ("data.db", "found something else"),
        ("postgresql://bot@db:port/x", "found something else"),
    ],
)
def test_address_that_is_none_or_holds_a_password_is_refused_without_repeating_it(url, found):
    with pytest.raises(StorageError, match=found) as caught:
        PostgresBackend(url, "PW")
    assert "hunter2" not in str(caught.value)


def test_password_comes_from_the_environment_and_is_never_shown(monkeypatch):
    monkeypatch.setenv("PW", "hunter2\n")
    address, arguments, _ = postgres_address.address("postgres://bot@db/simpatico?sslmode=require", "PW")

    assert (address.password, arguments) == ("hunter2", {"dsn": "postgresql://?sslmode=require"})
    assert "hunter2" not in PostgresBackend("postgres://bot@db/simpatico", "PW").what + repr(address)


@pytest.mark.parametrize(
    "option",
    [
        "channel_binding=require",
        "gssencmode=require",
        "sslmode=verify",
        "sslrootcert=/nowhere",
        "port=x",
        "port=1,2",
        "sslkey=/nowhere",
        "service=mine",
        "target_session_attrs=standby",
        "connect_timeout=soon",
        "keepalives_idle=5",
        "pgbouncer=true",
        "require_auth=scram-sha-256",
        "sslmode=require&sslmode=disable",
    ],
)
def test_option_that_cannot_be_used_is_refused_by_name(option):
    with pytest.raises(StorageError, match=f"cannot use the option {option.partition('=')[0]}:"):
        PostgresBackend(f"postgresql://bot@db/simpatico?{option}", "PW")


async def test_options_that_can_be_used_reach_the_server(postgres, database):
    url = postgres.url(database) + (
        "&channel_binding=prefer&sslmode=disable&target_session_attrs=read-write&connect_timeout=9"
        "&application_name=second&options=-c%20search_path%3Dpublic"
    )
    async with AsyncExitStack() as stack:
        backend = PostgresBackend(url, "NO_PASSWORD")
        await backend.open(stack)
        connection = await backend.connect_writer(stack)
        query = text("SELECT current_setting('application_name'), current_setting('search_path')")
        assert (await connection.execute(query)).one() == ("second", "public")


async def test_pooler_that_drops_settings_is_refused_in_words(backend, monkeypatch):
    monkeypatch.setattr(postgres_module, "LOCK_TIMEOUT_SHOWN", "2min")

    async with AsyncExitStack() as stack:
        with pytest.raises(DatabaseFailed, match="found a connection pooler"):
            await backend.connect_writer(stack)


async def test_server_that_cannot_be_reached_is_a_clear_error(tmp_path):
    settings = settings_in(tmp_path, url=f"postgresql://bot@/simpatico?host={tmp_path}")

    with pytest.raises(DatabaseFailed, match=r"PostgreSQL database simpatico on .* refused .*FileNotFound"):
        await Store.open(settings)


async def test_database_that_does_not_exist_is_a_clear_error(tmp_path, postgres):
    with pytest.raises(DatabaseFailed, match=r"InvalidCatalogNameError 3D000.*does not exist; create it"):
        await Store.open(settings_in(tmp_path, url=postgres.url("nowhere")))


async def pass_on(reader, writer, *, as_pooler):
    """Relay one direction; a pooler gives each client a process number of its own at log-in."""
    try:
        while block := await reader.read(65536):
            if as_pooler and (found := block.find(b"K\0\0\0\x0c")) >= 0:
                block = block[: found + 5] + b"\0\0\0\x07" + block[found + 9 :]
            writer.write(block)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("as_pooler", [False, True])
async def test_pooler_between_is_found_by_the_process_number(tmp_path, postgres, database, as_pooler):
    folder = postgres.url(database).partition("host=")[2]

    async def serve(reader, writer):
        from_server, to_server = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        await asyncio.gather(
            pass_on(reader, to_server, as_pooler=False), pass_on(from_server, writer, as_pooler=as_pooler)
        )

    server = await asyncio.start_unix_server(serve, tmp_path / ".s.PGSQL.5432")
    async with server:
        settings = settings_in(tmp_path / "bot", url=f"postgresql://postgres@/{database}?host={tmp_path}")
        if as_pooler:
            with pytest.raises(DatabaseFailed, match="found a connection pooler"):
                await Store.open(settings)
            with pytest.raises(DatabaseFailed, match="found a connection pooler"):
                await check_database(settings, None)
        else:
            async with await Store.open(settings):
                pass


async def test_notifications_that_do_not_arrive_are_refused_by_start_and_doctor(
    tmp_path, postgres, database, monkeypatch
):
    monkeypatch.setattr(postgres_peers, "BEAT_S", 0.3)
    async with relayed(postgres.url(database), tmp_path) as (relay, url):
        settings = settings_in(tmp_path / "bot", url=url)
        assert "opens, schema" in await check_database(settings, None)
        relay.line = Line.SWALLOWS
        for opened in (check_database(settings, None), Store.open(settings)):
            with pytest.raises(DatabaseFailed, match="do not arrive, as behind a connection pooler"):
                await opened


async def test_user_without_rights_is_refused_in_words_by_start_and_doctor(tmp_path, postgres, admin):
    await admin.execute("CREATE ROLE poor LOGIN")
    try:
        database = await admin.fetchval("SELECT current_database()")
        settings = settings_in(tmp_path, url=postgres.url(database).replace("postgres@", "poor@"))

        with pytest.raises(DatabaseFailed, match="grant it CREATE on the schema"):
            await check_database(settings, None)
        await admin.execute("DROP SCHEMA public CASCADE")
        await admin.execute("CREATE SCHEMA public")
        await admin.execute("GRANT USAGE ON SCHEMA public TO poor")
        with pytest.raises(DatabaseFailed, match="CREATE and USAGE on the schema"):
            await Store.open(settings)
        await admin.execute("REVOKE ALL ON SCHEMA public FROM poor")
    finally:
        await admin.execute("DROP ROLE poor")


async def test_refused_connection_and_unknown_host_say_what_to_check(tmp_path):
    for host in ("127.0.0.1:1", "[::1]:1", "nowhere.invalid"):
        with pytest.raises(DatabaseFailed, match="check that the server runs, and its host, port"):
            await Store.open(settings_in(tmp_path, url=f"postgresql://bot@{host}/x"))


async def test_several_hosts_and_an_encoded_socket_folder_are_understood(tmp_path, postgres, database):
    folder = postgres.url(database).partition("host=")[2]
    encoded = f"postgresql://postgres@{folder.replace('/', '%2F')}/{database}"

    for url in (postgres.url(database) + ",127.0.0.1:1", encoded):
        async with await Store.open(settings_in(tmp_path, url=url)):
            pass


async def test_setting_that_does_not_hold_is_refused(backend, monkeypatch):
    monkeypatch.setitem(postgres_module.EXPECTED, "full_page_writes", "off")

    async with AsyncExitStack() as stack:
        with pytest.raises(
            DatabaseFailed, match="Expected the PostgreSQL setting full_page_writes = off, found on"
        ):
            await backend.connect_writer(stack)


async def test_reader_cannot_write(reader):
    with pytest.raises(DatabaseFailed, match="ReadOnlySQLTransactionError"):
        await reader.run(note("a"))


async def test_reader_sees_one_state(reader, admin):
    connection = await reader._engine.connect()
    first = await connection.run_sync(keys)
    await admin.execute("INSERT INTO notes VALUES ('meanwhile', '')")
    second = await connection.run_sync(keys)
    await connection.close()

    assert (first, second, await reader.run(keys)) == ([], [], ["meanwhile"])


async def test_what_is_refused_names_the_constraint_and_no_value(writer):
    await writer.submit(note("private"))

    with pytest.raises(DatabaseFailed, match="UniqueViolationError pk_notes 23505") as caught:
        await writer.submit(note("private"))
    assert "private" not in str(caught.value)


async def test_lost_connection_fails_what_was_under_way_and_the_next_write_connects_anew(writer, reader):
    def cut(connection):
        note("lost")(connection)
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await writer.submit(note("before"))
    under_way = [writer.submit(note("with it")), writer.submit(cut), writer.submit(note("behind it"))]
    outcomes = await asyncio.gather(*under_way, return_exceptions=True)
    await writer.submit(note("after"))

    assert {type(outcome) for outcome in outcomes} == {DatabaseFailed}
    assert await reader.run(keys) == ["after", "before"]


async def test_job_alone_whose_connection_is_lost_hinders_nobody(writer, reader):
    async def job(connection):
        async with connection.begin():
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(DatabaseFailed):
        await writer.submit_alone(job)
    await writer.submit(note("after"))

    assert await reader.run(keys) == ["after"]


async def test_writers_of_several_processes_take_turns(postgres, database, backend, writer):
    """The second writer begins only after the first has committed, and never between two steps of a job."""
    began = asyncio.Event()
    go_on = asyncio.Event()

    async def job(connection):
        for key in ("first step", "second step"):
            async with connection.begin():
                await connection.run_sync(note(key))
            began.set()
            await go_on.wait()

    async with AsyncExitStack() as stack:
        other = Writer(await connection_of_another(postgres.url(database), stack), backend, wait_s=0)
        stack.push_async_callback(other.close)
        alone = writer.submit_alone(job)
        await began.wait()
        seen = other.submit(keys)
        await asyncio.sleep(0.05)
        early = seen.done()
        go_on.set()
        await alone

        assert (early, await seen) == (False, ["first step", "second step"])


async def connection_of_another(url, stack):
    """The writer's connection of another process on the same database."""
    other = PostgresBackend(url, "NO_PASSWORD")
    await other.open(stack)
    return await other.connect_writer(stack)


async def test_store_goes_on_after_the_server_cut_all_connections(tmp_path, postgres, database, admin):
    async with await Store.open(settings_in(tmp_path, url=postgres.url(database))) as store:
        reply = await posted(store, ALICE, FIRST)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'simpatico'"
        )

        with pytest.raises(DatabaseFailed):
            await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
        assert await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)
        assert await standing(store, ALICE) == {reply: (("👍",), None)}
