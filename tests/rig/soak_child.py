"""The child process that the soak kills: the real bot in the simulated Discord, with members and faults.

Arguments: folder and seed. It resumes from the folder: restores the saved Discord, repairs the steps that a
kill left unfinished, then lets members act in bursts. It prints every step before taking it (``step {...}``),
and after every burst, once the bot is idle, its findings (``quiet {...}``). SIGTERM ends it in an orderly
way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import simcord

from bot.app.composition import House, open_house
from bot.app.logs import set_up_logging
from bot.client import create_bot
from bot.config import Settings, parse_settings
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.soak_members import Faults, Members, say
from tests.rig.soak_model import CANDIDATES, Model, Step, load, save
from tests.rig.waiting import no_time

MOST_MESSAGES = 300


def settings_in(folder: Path) -> Settings:
    """Settings with data and keys below ``folder/house``."""
    house = folder / "house"
    return parse_settings(
        {
            "storage": {"data_dir": str(house / "data"), "key_dir": str(house / "keys")},
            "personalization": {"device": "cpu", "prior_min_members": 5, "prior_min_days": 0},
        }
    )


def rss_mib() -> float:
    """Resident memory of this process, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def run(folder: Path, seed: int) -> None:
    """Open the house, restore the saved Discord, run bursts until SIGTERM."""
    rng = random.Random(seed)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = settings_in(folder)
    saved, under_way = folder / "discord.pickle", folder / "under-way.json"
    with ThreadPoolExecutor(1) as executor:
        parts = {"encoder": HashEncoder(), "generator": ScriptedGenerator(CANDIDATES)}
        async with open_house(settings, trainer_executor=executor, seed=seed, **parts) as house:
            bot = create_bot(settings.bot, house.parts, always_sync=True)
            bot.reconciler._sleep = no_time
            env = simcord.Env(bot, settle_timeout=120.0, check_errors=False)
            model = load(saved, env.backend) if saved.exists() else Model()
            if model.users:  # while the bot is offline
                await Members(env, model, rng, settings.storage).act_unheard()
            # simcord limits a start to five seconds; on a busy machine reading back takes longer.
            outage, bot.reconciler.outage = bot.reconciler.outage, lambda: None
            await env.start()
            bot.reconciler.outage = outage
            outage()
            members = Members(env, model, rng, settings.storage)
            await quiet(env)
            if under_way.exists():
                await members.set_right([Step(*step) for step in json.loads(under_way.read_text())])
            await live(env, house, members, saved, stop)
            await env.shutdown()


async def quiet(env: simcord.Env) -> None:
    """Wait until the bot is idle and has read back what it missed."""
    calm = 0
    while calm < 20:
        await asyncio.sleep(0.001)
        await env.bot.inbox.wait_idle()
        busy = env.bot.reconciler._running or len(env.bot.inbox) or not env.bot.is_ready()
        calm = 0 if busy else calm + 1


def tidy(env: simcord.Env) -> None:
    """Delete logs and old messages of the simulator, whose memory would count as the bot's."""
    backend = env.backend
    for log in (backend.transcript, backend.http_requests, backend.interactions, backend.interaction_tokens):
        log.clear()
    me = env.bot.user.id
    for here in backend.messages.values():
        others = [one for one, message in here.items() if message.author_id != me or message.is_ephemeral]
        for one in others[:-MOST_MESSAGES]:
            del here[one]


async def live(env: simcord.Env, house: House, members: Members, saved: Path, stop: asyncio.Event) -> None:
    """Run bursts; after each, wait until the bot is idle, then compare, save and report."""
    faults, rng = Faults(env, members, members.rng), members.rng
    burst = 0
    fault = "none"
    while True:
        await env.settle()
        await quiet(env)
        if burst % 5 == 0:
            await house.trainer.run_round()
        if burst % 40 == 20:
            await house.trainer.rebuild_prior()
            await house.store.replies.expire_texts()
        found = await members.model.compare(house.store)
        tidy(env)
        save(saved, env.backend, members.model)
        say(
            "quiet",
            events=members.model.n_events,
            fault=fault,
            lost=[list(one) for one in found.lost],
            extra=[list(one) for one in found.extra],
            doubled=members.doubled,
            unanswered=members.unanswered,
            standing=len(members.model.must_be_stored()),
            errors=sorted({type(error).__name__ for error in env.errors}),
            rss=rss_mib(),
            read_back=env.bot.reconciler.n_requests,
        )
        if stop.is_set():
            return
        members.doubled = members.unanswered = 0
        await asyncio.sleep(0.5 + rng.random())
        for _ in range(rng.randrange(3, 12)):
            await members.step()
        fault = await faults.one()
        burst += 1


if __name__ == "__main__":
    set_up_logging(verbose=True)
    logging.getLogger("discord.state").setLevel(logging.ERROR)  # simcord connects once without intents
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
