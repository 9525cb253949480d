"""A member with a long history uses every command: none holds the event loop, which all members share.

`/my-data` with 3,000 replies once held it for 0.8 s, as long as all other members waited.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bot.app.watchdog import Watchdog
from bot.cogs.members.my_data import TOO_LONG
from bot.generation import Context, Picture, Style
from bot.messages.attachments import PICTURE_BYTES
from bot.metrics import Metrics
from bot.ui import data_export
from storage.records import Place, Who
from storage.servers.faq import LONGEST_ANSWER, MOST_ENTRIES, FaqEntry
from tests.rig.lag import at_length, measured
from tests.rig.size import sized
from tests.rig.using import Use, hostile, use_everything
from tests.rig.waiting import until
from tests.unit.bot.generators.scripted_server import generator
from tests.unit.storage.given import IMPRESSION

LONGEST_MS = 100.0
N_REPLIES = sized(ci=400, full=10_000)
"""Replies of the history; each has rows of its own in three tables."""
CANDIDATES = tuple(f"{number} " + "so it goes on, " * 20 for number in range(4))
LONG = replace(
    IMPRESSION,
    candidates=CANDIDATES,
    styles=("concise", "detailed") * 2,
    scores=(0.1,) * 4,
    prior_scores=(0.1,) * 4,
    propensities=(0.25,) * 4,
)


async def remembered(world, member, n_replies: int) -> None:
    """Store replies to a member, each with a rating."""
    await world.agree(member)
    await world.ask(member)
    who, store = Who(world.guild.id, member.id), world.house.store
    for start in range(0, n_replies, 400):
        numbers = range(start, min(start + 400, n_replies))
        ids = await asyncio.gather(
            *(store.replies.record(who, Place(world.channel.id, (10**6 + n,)), LONG) for n in numbers)
        )
        await asyncio.gather(*(store.feedback.record_rating(who, one, 1 + one % 5) for one in ids))


async def longest_hold(world, member, name: str) -> float:
    """Use a command; return the longest time that the loop was held, ms of CPU time."""
    with measured() as lag:
        await member.slash(world.channel, name)
    return max(lag.held_ms)


async def test_no_command_of_a_member_with_a_long_history_holds_the_loop(world, boss):
    await remembered(world, boss, N_REPLIES)
    guild = world.house.store.guild_id(Who(world.guild.id, boss.id))
    entries = (
        FaqEntry(hostile(190) + str(number), hostile(LONGEST_ANSWER)) for number in range(MOST_ENTRIES)
    )
    await asyncio.gather(*(world.house.store.faq.add(guild, entry) for entry in entries))
    reply = await world.ask(boss, hostile(1900))
    held: dict[str, float] = {}

    async def use(one: Use):
        with measured() as lag:
            result = await one.act()
        held[one.name] = max(lag.held_ms, default=0.0)
        return result

    await use_everything(world, boss, reply, use)

    kinds = Counter(name.split(" ")[0] for name in held)
    assert min(kinds["form"], kinds["button"], kinds["select"], kinds["/config"]) >= 2, kinds
    assert {
        "/my-data",
        "/stats",
        "/review",
        "Rate this reply",
        "Why this reply?",
        "Report this reply",
    } <= set(held)
    assert {name: ms for name, ms in held.items() if ms > LONGEST_MS} == {}


async def test_control_a_file_that_is_made_on_the_loop_holds_it(world, monkeypatch):
    honest = data_export._File.end
    monkeypatch.setattr(data_export._File, "end", lambda file: at_length(0.2, honest, file))
    in_a_thread = await longest_hold(world, world.alice, "my-data")

    async def inline(work, *args):
        return work(*args)

    monkeypatch.setattr(data_export.asyncio, "to_thread", inline)
    on_the_loop = await longest_hold(world, world.alice, "my-data")

    assert in_a_thread < LONGEST_MS < on_the_loop


async def test_an_export_that_takes_too_long_is_given_up_with_a_word(world, monkeypatch):
    monkeypatch.setattr(data_export, "WITHIN_S", 0.0)

    shown = await world.alice.slash(world.channel, "my-data")

    assert shown.response.content == TOO_LONG


class Answers(BaseHTTPRequestHandler):
    """A model server in a thread of its own."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {"role": "assistant", "content": f"Hello {id(self)}."}
        body = json.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


async def test_pictures_for_a_model_server_do_not_hold_the_loop():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    picture = Picture("image/png", os.urandom(PICTURE_BYTES))
    styles = [Style(str(number), f"Be {number}.") for number in range(4)]
    async with generator(f"http://127.0.0.1:{server.server_port}/v1") as model:
        await model.generate(Context("Hi"), styles)  # connects
        with measured() as lag:
            candidates = await model.generate(Context("What is this?", pictures=(picture,)), styles)
    await asyncio.to_thread(server.shutdown)
    server.server_close()

    assert len(candidates) == 4
    assert max(lag.held_ms) < LONGEST_MS


def hold_the_loop(secret: str, seconds: float) -> None:
    time.sleep(seconds)


def n_held(metrics: Metrics) -> float:
    (line,) = (
        one for one in metrics.text().decode().splitlines() if one.startswith("simpatico_loop_holds_total")
    )
    return float(line.split()[1])


async def test_the_watchdog_counts_each_hold_and_names_it_once_without_values(caplog):
    caplog.set_level(logging.WARNING, "bot.app.watchdog")
    metrics = Metrics()
    async with Watchdog(metrics):
        for number in (1, 2):
            await asyncio.sleep(0.1)
            hold_the_loop("a secret", 0.5)
            await until(lambda number=number: n_held(metrics) == number)

    named = [record.getMessage() for record in caplog.records if "hold_the_loop" in record.getMessage()]
    assert named == [f"the event loop was held for over 100 ms by {__name__}.hold_the_loop"]
    assert "secret" not in caplog.text


async def test_control_a_watchdog_with_a_wider_limit_counts_nothing():
    metrics = Metrics()
    async with Watchdog(metrics, held_s=60.0):
        await asyncio.sleep(0.1)
        hold_the_loop("a secret", 0.3)
        await asyncio.sleep(0.1)

    assert n_held(metrics) == 0
