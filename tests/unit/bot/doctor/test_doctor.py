"""``simpatico doctor`` on set-ups that are really broken: it says what is wrong, and changes nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import discord
import pytest
from aiohttp import web

from bot.__main__ import main
from bot.config import parse_settings
from bot.doctor import Finding, Verdict
from bot.doctor import stored_data as keeping
from bot.doctor.discord_account import PERMISSIONS, examine_account, id_in, invite_link
from bot.doctor.models import examine_device, examine_encoder, examine_model
from bot.doctor.ports import examine_ports
from bot.doctor.stored_data import examine_data, examine_disk, examine_owner
from bot.settings import BotSettings, GeneratorSettings, OperatorSettings
from personalization.settings import LearningSettings
from storage.store import Store
from tests.tiny_encoder import write_tiny_encoder
from tests.unit.storage.given import settings_in

BOT_ID = 123456789012345678
TOKEN = f"{base64.b64encode(str(BOT_ID).encode()).decode().rstrip('=')}.GabcdE.{'x' * 38}"


def verdicts(findings: list[Finding]) -> dict[str, str]:
    return {finding.what: finding.verdict.value for finding in findings}


async def listed(findings) -> list[Finding]:
    return [finding async for finding in findings]


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder without a token, with an encoder and a model that are quickly read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF and more")
    write_tiny_encoder(tmp_path / "encoder")
    (tmp_path / "config.toml").write_text(
        f'[generator]\nmodel = "{tmp_path}/tiny.gguf"\nruntime = "llamacpp"\n'
        f'[personalization]\nencoder = "{tmp_path}/encoder"\n'
    )
    return tmp_path


def test_a_sound_set_up_passes_and_a_missing_token_is_a_warning(folder, capsys):
    code = main(["doctor"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line.split()[:2] for line in lines[:-2]] == [
        ["ok", "configuration"],
        ["warning", "token"],
        ["ok", "model"],
        ["ok", "device"],
        ["ok", "encoder"],
        ["ok", "keys"],
        ["ok", "database"],
        ["ok", "disk"],
        ["ok", "port"],
    ]
    assert lines[-1] == "Ready to run; 1 to look at."


def test_a_failed_check_is_the_exit_code(folder, capsys):
    (folder / "tiny.gguf").write_bytes(b"<html>404</html>")

    code = main(["doctor"])

    shown = capsys.readouterr().out
    assert code == 1
    assert "failed   model" in shown and "is no GGUF file" in shown
    assert shown.endswith("1 failed: the bot will not run until that is mended.\n")


def test_a_configuration_that_cannot_be_read_is_the_first_and_last_line(folder, capsys):
    (folder / "config.toml").write_text("[bot]\ntokn = 1\nqueue_per_channel = 0\n")

    code = main(["doctor"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert [line.split()[0] for line in lines[:-2]] == ["failed", "failed"]
    assert ["[bot] queue_per_channel" in lines[0], "[bot] tokn: unknown key" in lines[1]] == [True, True]


# --- the account ------------------------------------------------------------------------------------------


def said(body: object, status: int = 200) -> web.Response:
    """JSON as Discord sends it, whose content type names no charset; discord.py compares it whole."""
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json"}
    )


class LittleDiscord:
    """The few answers of Discord's REST interface that a login and a look at the servers need."""

    def __init__(self) -> None:
        self.status = 200
        self.flags = 0
        self.permissions = [PERMISSIONS.value]

    async def answer(self, request: web.Request) -> web.Response:
        if self.status != 200:
            return said({"message": "no", "code": 0}, self.status)
        me = {"id": str(BOT_ID), "username": "s", "discriminator": "0", "avatar": None, "bot": True}
        servers = [{"id": str(i + 1), "name": "a", "roles": []} for i in range(len(self.permissions))]
        match request.path.removeprefix("/api/v10").strip("/").split("/"):
            case ["users", "@me"]:
                return said(me)
            case ["users", "@me", "guilds"]:
                return said(servers)
            case ["guilds", number]:
                role = {"id": number, "permissions": str(self.permissions[int(number) - 1]), "position": 0}
                colours = {"primary_color": 0, "secondary_color": None, "tertiary_color": None}
                role |= {"name": "@everyone", "color": 0, "hoist": False, "managed": False, "flags": 0}
                role |= {"mentionable": False, "colors": colours}
                return said({"id": number, "name": "a", "owner_id": "1", "roles": [role]})
            case ["guilds", _, "members", _]:
                member = {"user": me, "roles": [], "joined_at": "2026-01-01T00:00:00+00:00", "flags": 0}
                return said(member | {"deaf": False, "mute": False})
            case _:  # the application
                about = {"id": str(BOT_ID), "name": "s", "description": "", "icon": None, "owner": me}
                about |= {"bot_public": True, "bot_require_code_grant": False, "verify_key": "", "team": None}
                return said(about | {"flags": self.flags, "summary": ""})


@asynccontextmanager
async def serving(handler):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def discord_at_hand(monkeypatch):
    """A Discord on this machine; discord.py asks it in place of the real one."""
    little = LittleDiscord()
    async with serving(little.answer) as url:
        monkeypatch.setattr(discord.http.Route, "BASE", f"{url}/api/v10")
        yield little


async def test_a_token_that_discord_knows_comes_with_the_link_to_invite_it(discord_at_hand):
    findings = await listed(examine_account(TOKEN, BotSettings()))

    assert verdicts(findings) == {"token": "ok", "intents": "ok", "servers": "ok"}
    assert invite_link(BOT_ID) in findings[0].said
    assert f"permissions={0x40 | 0x400 | 0x800 | 0x10000 | (1 << 38)}" in findings[0].said


async def test_a_refused_token_fails(discord_at_hand):
    discord_at_hand.status = 401

    (finding,) = await listed(examine_account(TOKEN, BotSettings()))

    assert (finding.what, finding.verdict) == ("token", Verdict.FAILED)
    assert "Reset Token" in finding.said


async def test_a_missing_message_content_intent_fails_only_when_it_is_asked_for(discord_at_hand):
    reading = BotSettings(message_content=True)

    asked = verdicts(await listed(examine_account(TOKEN, reading)))
    discord_at_hand.flags = 1 << 19  # gateway_message_content_limited
    granted = verdicts(await listed(examine_account(TOKEN, reading)))

    assert (asked["intents"], granted["intents"]) == ("failed", "ok")


async def test_a_missing_permission_is_named_with_the_number_of_servers(discord_at_hand):
    lacking = PERMISSIONS.value & ~discord.Permissions(add_reactions=True).value
    discord_at_hand.permissions = [PERMISSIONS.value, lacking, lacking]

    *_, finding = await listed(examine_account(TOKEN, BotSettings()))

    assert (finding.what, finding.verdict) == ("servers", Verdict.WARNING)
    assert finding.said.startswith("in 2 of 3 a permission is missing: add reactions (2);")


async def test_a_bot_without_a_server_is_told_to_be_invited(discord_at_hand):
    discord_at_hand.permissions = []

    assert verdicts(await listed(examine_account(TOKEN, BotSettings())))["servers"] == "warning"


async def test_a_network_that_does_not_answer_is_a_warning(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setattr(discord.http.Route, "BASE", f"http://127.0.0.1:{port}/api/v10")

    (finding,) = await listed(examine_account(TOKEN, BotSettings()))

    assert (finding.what, finding.verdict) == ("token", Verdict.WARNING)
    assert "could not be asked" in finding.said


@pytest.mark.parametrize("text", ["Bot " + TOKEN, f'"{TOKEN}"', TOKEN[1:], "secret", "a.b.c", TOKEN + "…"])
async def test_what_is_no_token_fails_and_is_not_repeated(text):
    (finding,) = await listed(examine_account(text, BotSettings()))

    assert (finding.what, finding.verdict) == ("token", Verdict.FAILED)
    assert TOKEN[-20:] not in finding.said and text not in finding.said


def test_a_token_tells_whose_it_is():
    assert id_in(TOKEN) == BOT_ID


# --- what computes ----------------------------------------------------------------------------------------


async def test_a_model_folder_that_is_not_there_fails(tmp_path):
    finding = await examine_model(GeneratorSettings(model=str(tmp_path / "none"), runtime="transformers"))

    assert finding.verdict is Verdict.FAILED
    assert "none" in finding.said


async def test_a_model_that_the_hub_has_is_announced(tmp_path, monkeypatch):
    finding = await examine_model(GeneratorSettings(model="nobody/no-such-model", runtime="transformers"))

    assert finding == Finding(
        "model",
        Verdict.WARNING,
        "nobody/no-such-model is not on this machine; the first start fetches it from the hub",
    )


async def test_the_packaged_model_is_hashed():
    finding = await examine_model(GeneratorSettings(runtime="transformers"))

    assert (finding.verdict, "is whole" in finding.said) == (Verdict.OK, True)


async def test_a_model_server_that_is_not_there_fails():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = GeneratorSettings(
        kind="openai", model="tiny", base_url=f"http://127.0.0.1:{port}/v1", retries=0
    )

    finding = await examine_model(settings)

    assert finding.verdict is Verdict.FAILED
    assert "cannot be reached" in finding.said


@pytest.mark.parametrize(
    ("answer", "status", "verdict"),
    [
        ({"object": "list", "data": [{"id": "tiny:latest", "object": "model"}]}, 200, "ok"),
        ({"object": "list", "data": [{"id": "other", "object": "model"}]}, 200, "warning"),
        ({"error": {"message": "no key"}}, 401, "failed"),
        ({"error": {"message": "no such page"}}, 404, "ok"),
        ("<html>hello</html>", 200, "failed"),
    ],
)
async def test_a_model_server_is_asked_for_its_models(answer, status, verdict):
    async def handle(_request: web.Request) -> web.Response:
        return web.json_response(answer, status=status)

    async with serving(handle) as url:
        settings = GeneratorSettings(kind="openai", model="tiny", base_url=f"{url}/v1", retries=0)
        finding = await examine_model(settings)

    assert finding.verdict.value == verdict


def test_a_device_that_is_not_there_fails():
    missing = [name for name in ("cuda", "mps") if examine_device(name).verdict is Verdict.FAILED]

    assert examine_device("cpu").verdict is Verdict.OK
    assert missing, "no machine has both"


def test_an_encoder_that_is_not_there_fails(tmp_path):
    finding = examine_encoder(LearningSettings(encoder=str(tmp_path / "none"), device="cpu"))

    assert (finding.what, finding.verdict) == ("encoder", Verdict.FAILED)


# --- what is kept -----------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "data.lock"
    }


@pytest.fixture
async def kept(tmp_path):
    """A store that was opened once, and closed."""
    settings = settings_in(tmp_path)
    async with await Store.open(settings):
        pass
    return settings


async def test_data_and_keys_that_belong_together_are_well_and_stay_untouched(kept, tmp_path):
    before = contents(tmp_path)

    findings = await listed(examine_data(kept))

    assert verdicts(findings) == {"keys": "ok", "database": "ok"}
    assert contents(tmp_path) == before
    assert list(examine_owner(kept)) == []


async def test_nothing_is_made_where_nothing_is(tmp_path):
    findings = await listed(examine_data(settings_in(tmp_path)))

    assert verdicts(findings) == {"keys": "ok", "database": "ok"}
    assert contents(tmp_path) == {}


async def test_a_running_bot_is_left_alone(kept):
    async with await Store.open(kept):
        findings = await listed(examine_data(kept))

    assert verdicts(findings) == {"keys": "ok", "database": "ok"}
    assert "a running Simpatico has it" in findings[1].said


def lose_master_key(settings):
    (settings.key_dir / "master.key").unlink()


def shorten_master_key(settings):
    (settings.key_dir / "master.key").write_text("c2hvcnQ=")


def show_master_key(settings):
    (settings.key_dir / "master.key").chmod(0o644)


def exchange_master_key(settings):
    (settings.key_dir / "master.key").write_text(base64.b64encode(bytes(32)).decode())


def damage_keys(settings):
    (settings.key_dir / "keys.db").write_bytes(b"no database" * 1000)


def advance_keys(settings):
    with closing(sqlite3.connect(settings.key_dir / "keys.db")) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lose_master_key, "no master key"),
        (shorten_master_key, "Expected 32 bytes"),
        (show_master_key, "mode 0600"),
        (exchange_master_key, "does not open"),
        (damage_keys, "damaged or not a database"),
        (advance_keys, "has schema 99"),
    ],
)
async def test_broken_keys_fail_and_say_how(kept, break_it, words):
    break_it(kept)

    findings = await listed(examine_data(kept))

    assert verdicts(findings) == {"keys": "failed", "database": "warning"}
    assert words in findings[0].said


def lose_keys(settings):
    (settings.key_dir / "keys.db").unlink()


def damage_index(settings):
    """Take a row out of an index, which the quick check of every start does not look at."""
    with closing(sqlite3.connect(settings.data_dir / "data.db")) as connection:
        connection.execute("INSERT INTO notes VALUES ('a', 'b')")
        connection.execute("PRAGMA writable_schema = on")
        connection.execute(
            "UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name ="
            " 'ix_members_guild') WHERE name = 'ix_members_person'"
        )
        connection.commit()


def cut_database(settings):
    path = settings.data_dir / "data.db"
    path.write_bytes(path.read_bytes()[:5000])


def advance_database(settings):
    with closing(sqlite3.connect(settings.data_dir / "data.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def lose_ledger(settings):
    with closing(sqlite3.connect(settings.data_dir / "data.db")) as connection:
        connection.execute("INSERT OR REPLACE INTO notes VALUES ('ledger', '7')")
        connection.commit()


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lose_keys, "there is no key store"),
        (damage_index, "damaged"),
        (cut_database, "damaged"),
        (advance_database, "has schema 9999"),
        (lose_ledger, "7 changes of the erasure ledger"),
    ],
)
async def test_a_broken_database_fails_and_says_how(kept, break_it, words):
    break_it(kept)

    *_, database = await listed(examine_data(kept))

    assert (database.what, database.verdict) == ("database", Verdict.FAILED)
    assert words in database.said


async def test_keys_of_other_data_fail(kept, tmp_path):
    other = settings_in(tmp_path / "other")
    async with await Store.open(other):
        pass
    shutil.rmtree(kept.key_dir)
    shutil.copytree(other.key_dir, kept.key_dir)

    *_, database = await listed(examine_data(kept))

    assert (database.what, database.verdict) == ("database", Verdict.FAILED)
    assert "restore the two as a pair" in database.said


async def test_an_older_schema_is_announced(kept):
    with closing(sqlite3.connect(kept.data_dir / "data.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0002'")
        connection.commit()

    *_, database = await listed(examine_data(kept))

    assert database.verdict is Verdict.OK
    assert "brings its schema from 0002" in database.said


async def test_a_postgresql_database_is_asked_too(tmp_path, postgres):
    settings = settings_in(tmp_path, url=postgres.url(await postgres.fresh(migrated=False)))

    empty = await listed(examine_data(settings))
    async with await Store.open(settings):
        used = await listed(examine_data(settings))

    assert [verdicts(findings)["database"] for findings in (empty, used)] == ["ok", "ok"]
    assert "is empty" in empty[1].said and "opens, schema" in used[1].said


async def test_a_postgresql_server_that_is_not_there_fails(kept):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    *_, database = await listed(examine_data(replace(kept, url=f"postgresql://nobody@127.0.0.1:{port}/none")))

    assert (database.what, database.verdict) == ("database", Verdict.FAILED)


async def test_files_that_others_may_read_are_named(kept):
    (kept.key_dir / "keys.db").chmod(0o640)

    (finding,) = examine_owner(kept)

    assert finding.verdict is Verdict.WARNING
    assert str(kept.key_dir / "keys.db") in finding.said


def everything_in(folder: Path):
    return parse_settings(
        {
            "storage": {"data_dir": str(folder / "data"), "key_dir": str(folder / "keys")},
            "generator": {"model_dir": str(folder / "models")},
        }
    )


@pytest.mark.parametrize(
    ("least", "few", "verdict"), [(0, 0, "ok"), (0, 2**60, "warning"), (2**60, 2**60, "failed")]
)
def test_little_room_on_the_disk_is_told(tmp_path, monkeypatch, least, few, verdict):
    monkeypatch.setattr(keeping, "LEAST_BYTES", least)
    monkeypatch.setattr(keeping, "FEW_BYTES", few)

    (finding,) = examine_disk(everything_in(tmp_path))

    assert finding.verdict.value == verdict


def test_a_file_where_a_folder_should_be_fails(tmp_path):
    (tmp_path / "data").write_text("")

    assert [f.verdict.value for f in examine_disk(everything_in(tmp_path))] == ["ok", "failed"]


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (busy,) = examine_ports(OperatorSettings(metrics_port=taken.getsockname()[1]))
        port = taken.getsockname()[1]
    (free,) = examine_ports(OperatorSettings(metrics_port=port))

    assert (busy.verdict, free.verdict) == (Verdict.WARNING, Verdict.OK)
