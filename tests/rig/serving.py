"""The child process that P20 stops: the real ``simpatico run``, but in the simulated Discord, under load.

Arguments: folder, and ``orderly``, ``hasty`` or the name of a part that never closes (:data:`HANGING`). The
hasty process exits without draining its queues. It
prints ``busy`` once events arrive and a member has asked. At its end it prints, as JSON, the number of events
taken and written, the number of answers, and the threads still running.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from functools import partial
from typing import Any

import discord
import simcord

from bot.app.composition import open_house
from bot.app.stop_deadline import STOP_WITHIN_S, StopDeadline
from bot.client import SimpaticoBot
from bot.commands import join_discord as cli
from bot.config import parse_settings
from personalization.rounds.trainer import Trainer
from storage.records import Who
from storage.store import Store
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


async def hang_in_thread(*_: object) -> None:
    await asyncio.to_thread(time.sleep, 1000)


async def hang_on_loop(*_: object) -> None:
    time.sleep(1000)


HANGING = {
    "model": (Slow, "close", hang_in_thread),
    "loop": (Slow, "close", hang_on_loop),
    "store": (Store, "close", hang_in_thread),
    "trainer": (Trainer, "close", hang_in_thread),
    "discord": (discord.Client, "close", hang_in_thread),
}
"""The parts that can be made to hang when they are closed: class, method, replacement."""


def main(folder: str, kind: str, within_s: str = str(STOP_WITHIN_S)) -> None:
    storage = {"data_dir": f"{folder}/data", "key_dir": f"{folder}/keys"}
    cli.open_house = partial(open_house, encoder=HashEncoder(), generator=Slow())
    SimpaticoBot.start = start
    if kind in HANGING:
        setattr(*HANGING[kind])
    if kind == "hasty":
        SimpaticoBot.close = lambda self: super(SimpaticoBot, self).close()
    with StopDeadline(float(within_s)) as deadline:
        asyncio.run(cli.serve(parse_settings({"storage": storage}), "token", lambda: None, deadline))
    seen["threads"] = [
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    ]
    os.write(1, json.dumps(seen).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
