"""The child process that P20 stops: the real ``simpatico run``, but in the simulated Discord, under load.

Arguments: folder, and ``orderly`` or ``hasty``; the hasty process exits without draining its queues. It
prints ``busy`` once events arrive and a member has asked. At its end it prints, as JSON, the number of events
taken and written, the number of answers, and the threads still running.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from functools import partial
from typing import Any

import simcord

from bot.app.composition import open_house
from bot.client import SimpaticoBot
from bot.commands import join_discord as cli
from bot.config import parse_settings
from storage.records import Who
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.schedules import Act

seen: dict[str, Any] = {"taken": 0}


class Slow(ScriptedGenerator):
    """Generator with a delay, so that some answers are in progress when the process stops."""

    async def generate(self, context: Any, styles: Any) -> Any:
        seen["asked"] = seen.get("asked", 0) + 1
        await asyncio.sleep(0.05)
        return await super().generate(context, styles)


async def start(bot: SimpaticoBot, _token: str) -> None:
    """Replacement of ``SimpaticoBot.start``: a member writes and reacts until the bot is closed."""
    env = simcord.Env(bot, check_errors=False)
    await env.start()
    guild = env.create_guild("Busy")
    channel = guild.create_text_channel("general")
    alice = guild.add_member(env.create_user("alice"))
    await bot.store.consent.record(Who(guild.id, alice.id))
    await alice.send(channel, f"<@{bot.me}> hello")
    reply = channel.last_message.id
    put = bot.inbox.put

    def counted(event: Any) -> None:
        seen["taken"] += 1
        put(event)

    bot.inbox.put = counted
    seen["before"] = bot.inbox.n_written
    seen["asked"] = 0
    number, busy = 0, False
    asked = {"author": alice.id}
    while not bot.is_closed() and not bot.reconciler._stopped.is_set():
        for _ in range(20):
            number += 1
            act = Act("add" if number % 2 else "remove", reply, alice.id, "👍")
            bot._connection.parsers[act.event()](act.payload(guild.id, channel.id))
        if number % 100 == 0:
            with env._bot_scope():
                env.backend.create_message(channel.id, asked["author"], f"<@{bot.me}> and {number}?")
        if not busy and seen["taken"] > 100 and seen["asked"]:
            busy = bool(os.write(1, b"busy\n"))
        await asyncio.sleep(0.002)
    while not bot.is_closed():
        await asyncio.sleep(0.01)
    seen["written"] = bot.inbox.n_written - seen["before"]
    seen["marked"] = bool(bot.inbox.marks)
    seen["answered"] = sum(message.author.id == bot.me for message in channel.history()) - 1
    await env.shutdown()


def main(folder: str, kind: str) -> None:
    storage = {"data_dir": f"{folder}/data", "key_dir": f"{folder}/keys"}
    cli.open_house = partial(open_house, encoder=HashEncoder(), generator=Slow())
    SimpaticoBot.start = start
    if kind == "hasty":
        SimpaticoBot.close = lambda self: super(SimpaticoBot, self).close()
    asyncio.run(cli.serve(parse_settings({"storage": storage}), "token", lambda: None))
    seen["threads"] = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    os.write(1, json.dumps(seen).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
