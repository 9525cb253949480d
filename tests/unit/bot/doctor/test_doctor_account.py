"""The doctor's look at the bot account: token, intents, servers and permissions."""

from __future__ import annotations

import base64
import json
import socket

import discord
import pytest
from aiohttp import web

from bot.doctor import Verdict
from bot.doctor.discord_account import PERMISSIONS, examine_account, id_in, invite_link
from bot.settings import BotSettings
from tests.unit.bot.doctor.findings import listed, serving, verdicts

BOT_ID = 123456789012345678
TOKEN = f"{base64.b64encode(str(BOT_ID).encode()).decode().rstrip('=')}.GabcdE.{'x' * 38}"


def said(body: object, status: int = 200) -> web.Response:
    """Answer with JSON as Discord sends it: discord.py expects a content type without a charset."""
    return web.Response(
        body=json.dumps(body).encode(), status=status, headers={"Content-Type": "application/json"}
    )


class LittleDiscord:
    """The part of Discord's REST API that a login and a look at the servers need."""

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


@pytest.fixture
async def discord_at_hand(monkeypatch):
    """A Discord on this machine, to which discord.py sends its requests."""
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
