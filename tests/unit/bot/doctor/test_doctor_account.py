"""The doctor's look at the bot account: token, intents, servers and permissions."""

from __future__ import annotations

import socket

import discord
import pytest

from bot.doctor import Verdict
from bot.doctor.discord_account import PERMISSIONS, examine_account, id_in, invite_link
from bot.settings import BotSettings
from tests.rig.discord_server import BOT_ID, TOKEN, discord_server, pointed_at
from tests.unit.bot.doctor.findings import listed, verdicts


@pytest.fixture
async def discord_at_hand():
    """A Discord on this machine, to which discord.py sends its requests."""
    async with discord_server(message_content=False) as server:
        with pointed_at(server.url):
            yield server


def invited(server, *, permissions: discord.Permissions = PERMISSIONS) -> None:
    """Invite the bot to a new server, with these permissions alone."""
    roles = server.world.create_guild()._guild.roles.values()
    for role in roles:
        role.permissions = permissions.value if role.managed else 0


async def test_a_token_that_discord_knows_comes_with_the_link_to_invite_it(discord_at_hand):
    invited(discord_at_hand)

    findings = await listed(examine_account(TOKEN, BotSettings()))

    assert verdicts(findings) == {"token": "ok", "intents": "ok", "shards": "ok", "servers": "ok"}
    assert invite_link(BOT_ID) in findings[0].said
    assert f"permissions={0x40 | 0x400 | 0x800 | 0x10000 | (1 << 38)}" in findings[0].said


async def test_a_refused_token_fails(discord_at_hand):
    discord_at_hand.reset_token()

    (finding,) = await listed(examine_account(TOKEN, BotSettings()))

    assert (finding.what, finding.verdict) == ("token", Verdict.FAILED)
    assert "Reset Token" in finding.said


async def test_a_missing_message_content_intent_fails_only_when_it_is_asked_for(discord_at_hand):
    reading = BotSettings(message_content=True)

    asked = verdicts(await listed(examine_account(TOKEN, reading)))
    discord_at_hand.rest.message_content = True
    granted = verdicts(await listed(examine_account(TOKEN, reading)))

    assert (asked["intents"], granted["intents"]) == ("failed", "ok")


@pytest.mark.parametrize(
    ("recommended", "count", "n_used", "verdict", "said"),
    [
        (1, 0, 0, "ok", "1, of 1 that Discord recommends; 1,000 of 1,000 sessions of this day are left"),
        (2, 4, 500, "ok", "4, of 2 that Discord recommends; 500 of 1,000"),
        (4, 2, 0, "warning", "shard_count = 2, but Discord recommends 4"),
        (1, 0, 501, "warning", "499 of 1,000 sessions of this day are left, so connecting takes longer"),
    ],
)
async def test_too_few_shards_and_few_sessions_are_a_warning(
    recommended, count, n_used, verdict, said, discord_at_hand
):
    discord_at_hand.rest.shards, discord_at_hand.budget.n_used = recommended, n_used

    findings = await listed(examine_account(TOKEN, BotSettings(shard_count=count)))

    (finding,) = [one for one in findings if one.what == "shards"]
    assert finding.verdict == verdict and finding.said.startswith(said)


async def test_a_missing_permission_is_named_with_the_number_of_servers(discord_at_hand):
    lacking = PERMISSIONS & ~discord.Permissions(add_reactions=True)
    for permissions in (PERMISSIONS, lacking, lacking):
        invited(discord_at_hand, permissions=permissions)

    *_, finding = await listed(examine_account(TOKEN, BotSettings()))

    assert (finding.what, finding.verdict) == ("servers", Verdict.WARNING)
    assert finding.said.startswith("in 2 of 3 a permission is missing: add reactions (2);")


async def test_a_bot_without_a_server_is_told_to_be_invited(discord_at_hand):
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
