"""The doctor's look at the bot account: token, intents, servers and permissions."""

from __future__ import annotations

import socket

import discord
import pytest

from bot.doctor import Verdict
from bot.doctor.discord_account import PERMISSIONS, examine_account, id_in, invite_link
from bot.settings import BotSettings
from tests.rig.little_discord import BOT_ID, TOKEN, LittleDiscord
from tests.unit.bot.doctor.findings import listed, serving, verdicts


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
