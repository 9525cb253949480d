"""P13: no secret, text or id in logs at any level.

Every logger of the process is set to DEBUG, then the bot is used in the simulated Discord. Members ask,
react, rate, use the commands, agree and forget. The generator, the encoder, the database and Discord fail,
some of them with the members' texts in their errors. discord.py's own HTTP client talks to a local server,
which also answers 429 and 500. Then the canary scanner searches the output of the program's log handler, in
all forms, for texts, names, ids, interaction tokens, the bot's token and the keys.

Control: the same events with a plain handler; discord.py and aiosqlite log texts, ids and tokens.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging

import pytest
from aiohttp import web
from discord.http import HTTPClient, Route

from bot.app.logs import discreet_handler
from bot.generation import GeneratorUnavailable
from storage.failpoints import switch_on
from tests.integration.conftest import opened
from tests.rig.canary import Canaries
from tests.rig.listening import everything_to, raw_handler

pytestmark = pytest.mark.promise("P13")

SAID = "Regenbogenforelle mit Zitronenmelisse"
CANDIDATES = ("Pfifferlinge am Waldrand!", "Holunderbeeren im Herbst?", "Brombeerhecken überall.")
GUILD_NAME = "Wunderkammer von Oberammergau"
NAME = "Wilhelmina Zwetschgenbaum"
TOKEN = "MTA0NDU1NTY2Nzc3ODg4.Gabcde.nicht-weitersagen-bitte-0123456789"
NUMBER = 822_333_444_555_666_777


async def busy_time(world, member) -> None:
    """Use everything, and let everything fail."""
    world.generator.default = CANDIDATES
    await world.ask(member, SAID)
    await world.agree(member)
    reply = await world.ask(member, SAID)
    await member.react(reply, "👍")
    await member.unreact(reply, "👍")
    await member.react(reply, "👎")
    for command in ("privacy", "status", "feedback"):
        await member.slash(world.channel, command)
    await world.house.trainer.run_round()
    await world.ask(member, SAID)

    world.generator.enqueue_error(GeneratorUnavailable("the model server did not answer"))
    await world.ask(member, SAID)
    world.generator.enqueue_error(ValueError(f"cannot continue after {SAID} for {member.id}"))
    await world.ask(member, SAID)
    encode = world.house.ranker._features.encode
    world.house.ranker._features.encode = fails_saying(SAID)
    await world.ask(member, SAID)
    world.house.ranker._features.encode = encode
    for status in (403, 500):
        for path in ("/channels/*/messages", "/channels/*/messages/*/reactions/*"):
            world.env.inject_error("*", path, status=status, message=f"no: {SAID}", times=6)
        await world.ask(member, SAID)
        world.env.backend.faults.clear()
    switch_on("writer.before-commit=raise")
    await member.react(world.channel.last_message, "❤️")
    switch_on("")
    shown = await member.slash(world.channel, "forget-me")
    await member.click(shown.response, label="Forget everything about me")
    task = asyncio.get_running_loop().create_task(fails(f"{SAID} by {member.id}"))
    await asyncio.wait([task])
    del task  # asyncio logs an exception that was never retrieved, with its text


def fails_saying(text: str):
    def encode(*_: object):
        raise RuntimeError(text)

    return encode


async def fails(text: str) -> None:
    raise ValueError(text)


async def discord_talks() -> None:
    """Send requests with discord.py's own HTTP client to a server that answers, refuses and fails."""
    answers = [200, 429, 200, 500, 200]
    # As Discord sends them: without "Via" a 429 means a ban; with a charset discord.py reads JSON as text.
    headers = {"Via": "1.1 google", "Content-Type": "application/json"}

    async def answer(request: web.Request) -> web.Response:
        status = answers.pop(0) if answers else 200
        await request.read()
        limited = {"retry_after": 0.01, "global": False}
        body = limited if status == 429 else {"id": str(NUMBER), "content": SAID}
        return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = HTTPClient(asyncio.get_running_loop())
    base = Route.BASE
    try:
        Route.BASE = f"http://127.0.0.1:{runner.addresses[0][1]}"
        await client.static_login(TOKEN)
        for _ in range(2):
            route = Route("POST", "/channels/{channel_id}/messages", channel_id=NUMBER)
            await client.request(route, json={"content": SAID})
        hook = Route("POST", "/webhooks/{webhook_id}/{webhook_token}", webhook_id=NUMBER, webhook_token=TOKEN)
        await client.request(hook, json={"content": SAID})
    finally:
        Route.BASE = base
        await client.close()
        await runner.cleanup()
    # The line that DiscordWebSocket.received_message logs, which needs a connection:
    event = {"t": "MESSAGE_CREATE", "d": {"content": SAID}}
    logging.getLogger("discord.gateway").debug("For Shard ID %s: WebSocket Event: %s", 0, event)


async def heard(settings, handler_of) -> tuple[str, Canaries]:
    """Return what a handler wrote, and the canaries that must not be in it."""
    out = io.StringIO()
    async with opened(settings, guild_name=GUILD_NAME) as world:
        member = world.guild.add_member(world.env.create_user(NAME))
        secret = Canaries().text("said", SAID).text("name", NAME).text("server", GUILD_NAME)
        for text in CANDIDATES:
            secret.text("candidate", text)
        secret.text("token", TOKEN).id("discord", NUMBER).id("member", member.id)
        secret.id("guild", world.guild.id).id("channel", world.channel.id).id("bot", world.bot.me)
        key = (settings.storage.key_dir / "master.key").read_text().strip()
        secret.text("master key", key).secret("master key", base64.b64decode(key))
        with everything_to(handler_of(out)):
            await busy_time(world, member)
            await discord_talks()
            logging.getLogger("bot").debug("the end is heard")
        for message in world.channel.history():
            secret.id("message", message.id)
        for token in world.env.backend.interaction_tokens:
            secret.text("interaction token", token)
        assert world.env.backend.interaction_tokens
        world.env.errors.clear()
    assert "the end is heard" in out.getvalue()
    return out.getvalue(), secret


@pytest.fixture(autouse=True)
def failpoints_off():
    yield
    switch_on("")


async def test_nothing_that_belongs_to_anybody_is_in_the_log_at_any_level(settings):
    written, secret = await heard(settings, discreet_handler)

    assert secret.in_text(written.splitlines()) == []
    assert "ValueError" in written, "expected the failures in the log, without their texts"


async def test_control_a_plain_handler_gives_words_ids_and_token_away(settings):
    written, secret = await heard(settings, raw_handler)

    found = {hit.canary for hit in secret.in_text(written.splitlines())}
    assert {"said", "member", "discord", "token"} <= found
    assert "DEBUG aiosqlite: " in written
    assert "DEBUG discord.http: " in written
