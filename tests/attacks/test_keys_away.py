"""The server of the keys goes away and comes back while the data stay: a call fails, nothing is half done."""

from __future__ import annotations

import asyncio

import pytest

from bot.commands import main as cli
from storage.errors import DatabaseFailed, KeyMissing
from storage.records import Consent
from storage.store import Store
from tests.rig.key_places import DATABASE, KeysAt, keys_at
from tests.unit.storage.given import ALICE, BOB, FIRST, SECOND, posted, settings_in

pytestmark = pytest.mark.slow


@pytest.fixture
async def at(tmp_path, postgres):
    async with keys_at(DATABASE, settings_in(tmp_path), lambda: postgres) as place:
        yield place


async def go_away(at: KeysAt, *, back: bool = False) -> None:
    assert at.server is not None
    admin = await at.server.connect()
    await admin.execute(f"ALTER DATABASE {at.name} ALLOW_CONNECTIONS {'true' if back else 'false'}")
    if not back:
        await admin.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{at.name}'"
        )
    await admin.close()


async def test_while_it_is_away_calls_fail_by_its_name_and_all_works_afterwards(at):
    async with await Store.open(at.settings) as store:
        await posted(store, ALICE, FIRST)
        before = await store.privacy.summary(ALICE)
        await go_away(at)

        assert await store.feedback.record_reaction(ALICE, FIRST, "👍", added=True)  # her key is in memory
        assert await store.feedback.record_reaction(ALICE, FIRST, "👍", added=False)
        for call in (store.consent.record(BOB), store.privacy.forget(ALICE.user_id)):
            with pytest.raises(DatabaseFailed, match=r"\[storage\] key_url.*refused"):
                await call
        assert (await store.privacy.summary(ALICE)).n_replies == before.n_replies
        assert await store.consent.of(BOB) is Consent.UNKNOWN

        await go_away(at, back=True)
        await posted(store, BOB, SECOND)
        assert (await store.privacy.forget(ALICE.user_id)).n_keys == 1


async def test_a_start_without_it_and_a_start_on_an_empty_one_make_nothing(at, tmp_path):
    async with await Store.open(at.settings) as store:
        await posted(store, ALICE, FIRST)
    await go_away(at)
    with pytest.raises(DatabaseFailed, match="key_url"):
        await Store.open(at.settings)
    await go_away(at, back=True)
    rows = await at.dump()
    await at.sql("DROP TABLE system_keys, member_keys, erased_keys, refusals, ledger_origin, key_schema")

    with pytest.raises(KeyMissing, match="restore the keys of these data from a copy"):
        await Store.open(at.settings)
    assert await at.sql("SELECT 1 FROM pg_tables WHERE schemaname = 'public'") == []
    assert len(rows["member_keys"]) == 1


def test_the_commands_say_what_they_did_and_go_nowhere_with_a_wrong_address(tmp_path, postgres, capsys):
    settings = settings_in(tmp_path)

    async def lived() -> str:
        async with await Store.open(settings) as store:
            await posted(store, ALICE, FIRST)
            await store.privacy.refuse(BOB)
        return await postgres.fresh(migrated=False)

    url = postgres.url(name := asyncio.run(lived()))
    config = tmp_path / "config.toml"

    def said(*command: str, key_url: str = "") -> tuple[int, str]:
        config.write_text(f'[storage]\nkey_url = "{key_url}"\n')
        code = cli.run(["--config", str(config), *command])
        return code, "".join(capsys.readouterr())

    assert said("move", "--keys-to", "postgresql://bot:pass@/x")[0] == 3
    assert (
        "found a password in it; move it to the variable SIMPATICO_KEY_PASSWORD"
        in (said("move", "--keys-to", "postgresql://bot:pass@/x")[1])
    )
    code, moved = said("move", "--keys-to", url)
    assert (code, "of keys and erasure ledger from" in moved, "pass" in moved) == (0, True, False)
    assert said("move", "--keys-to", url, key_url=url)[1].startswith("They are there already")
    assert said("ledger", key_url=url) == (0, "0 destroyed keys, 1 member who refused.\n")
    assert said("backup-keys", str(tmp_path / "saved"), key_url=url)[0] == 0
    assert "it wraps nothing yet. Copy it to" in said("rotate-key", key_url=url)[1]
    assert "wraps the keys of 1 member" in said("rotate-key", key_url=url)[1]
    assert said("restore-keys", str(tmp_path / "saved"), key_url=url)[0] == 3  # wrapped by the old master key
    assert said("move", "--keys-to", "files", key_url=url)[0] == 0
    assert said("ledger") == (0, "0 destroyed keys, 1 member who refused.\n")
    asyncio.run(postgres.drop(name))
