"""Playground: the same bot in a simulated Discord in the browser, without account or token.

Three members share one channel, in which every message is answered. One of them manages the server and is
the host of the bot. Data and keys are in a temporary folder that is deleted at the end
(:mod:`bot.app.playing.folders`).

simcord waits for the bot after every click. Answers take seconds, so they run outside of what simcord waits
for, and the page is published again whenever the simulated Discord changes. A server in front of simcord's
page adds what a newcomer misses there (:mod:`bot.app.playing.front`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import discord
import simcord
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

from bot.app.better_model import who_writes
from bot.app.composition import House, open_house, return_freed_memory
from bot.app.glass_box.serving import open_glass_box
from bot.app.monitor import open_monitor
from bot.app.playing.folders import own_folder, remove_stale
from bot.app.playing.front import Front
from bot.app.playing.live import Live
from bot.app.watchdog import Watchdog
from bot.client import SimpaticoBot, create_bot
from bot.config import ConfigError, Settings
from bot.tasks import Tasks
from storage.records import Who

log = logging.getLogger(__name__)

_QUIET_S = 0.3
"""Quiet time of the simulated Discord before the page is published again, seconds."""
_MOST_WAITS = 7

MEMBERS = ("ada", "ben", "chloe")
MANAGER = "chloe"
MANAGER_ROLE = "manager and host"
SEEDED = ("👍", "👎", "❤️", "😂", "🙄")
WELCOME = """\
Hello! This is the playground: the real bot, in a Discord that lives in this window.
**1.** Write a message. I write several replies and post one.
**2.** Press *Learn what I like* under my reply, then click the reactions under my replies.
**3.** Keep going: every few seconds I train, and my choices turn toward your taste. \
`/feedback` shows what I learnt, `/why` why I picked a reply, `/style` takes wishes; `/help` lists the rest. \
*Apps* under a reply is its menu.
Switch the viewer at the top to be somebody else, with another taste. *Chloe* manages this server and is my \
host: she also has `/config`, `/stats`, `/review` and more. Everything is gone when you stop me.
"""


@dataclass(frozen=True, slots=True)
class Playground:
    """A running playground; ``url`` and ``glass_box``, a second page, contain their access keys."""

    url: str
    glass_box: str
    house: House
    bot: SimpaticoBot
    env: simcord.Env
    preview: simcord.Preview


async def play(settings: Settings, port: int) -> None:
    """Open the playground, print its address, and run until it is closed, SIGTERM or SIGINT.

    Raises:
        ConfigError: The port cannot be opened.
    """
    _check_port(port)
    print("Preparing the playground; the models load for some seconds ...", flush=True)
    async with open_playground(settings, port=port) as playground:
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGTERM, signal.SIGINT):  # only now: Ctrl+C must also end a long loading
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(stop, stopped.set)
        print(f"The playground is open: {playground.url}")
        print(f"Watch it learn beside it: {playground.glass_box}\nStop it with Ctrl+C.", flush=True)
        async with Tasks() as tasks:
            closed = tasks.spawn(playground.preview.wait_closed(), name="preview")
            halt = tasks.spawn(stopped.wait(), name="halt")
            await asyncio.wait({closed, halt}, return_when=asyncio.FIRST_COMPLETED)


def _check_port(port: int) -> None:
    """Check the port before the models load.

    Raises:
        ConfigError: The port cannot be opened.
    """
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as exc:
        raise ConfigError(
            f"--port {port}: cannot be opened on 127.0.0.1 ({exc}); leave it out for a free one"
        ) from exc


@asynccontextmanager
async def open_playground(settings: Settings, *, port: int = 0, **house: Any) -> AsyncIterator[Playground]:
    """Open a simulated Discord with the bot in it.

    Args:
        settings: As for Discord; data, keys, seeded reactions and training pace are the playground's own.
        port: Port on 127.0.0.1, 0 for a free one.
        house: Passed on to :func:`bot.app.composition.open_house`.
    """
    await asyncio.to_thread(remove_stale)
    with own_folder() as folder:
        async with (
            open_house(_for_play(settings, folder), progress=True, **house) as parts,
            _Detached() as home,
            open_glass_box(parts) as glass_box,
        ):
            own = replace(settings.bot, seeded_reactions=SEEDED, message_content=True)
            if settings.generator.model == "packaged":
                own = replace(
                    own, history_messages=2
                )  # a model this small repeats itself with a longer history
            bot = create_bot(own, parts.parts, spawn=home.spawn, always_sync=True)
            async with (
                simcord.run(bot, settle_timeout=120.0, check_errors=False) as env,
                open_monitor(settings.operator, bot),
                Watchdog(bot.metrics),
            ):
                channel, viewers = _populate(env)
                glass_box.box.show({Who(one.guild.id, one.id): one.name.title() for one in viewers})
                bot.chat_channels.add(channel.id)
                bot.owner_id = viewers[MEMBERS.index(MANAGER)].id
                await _set_clock(env)
                await _introduce(bot, channel.id, glass_box.url, who_writes(settings.generator))
                async with (
                    env.preview(channel, viewers=viewers, layout="channel") as preview,
                    Front(preview, Live(env, preview, bot, {bot.owner_id: MANAGER_ROLE}), port=port) as front,
                ):
                    parts.scheduler.start()
                    try:
                        async with Tasks() as tasks:
                            tasks.spawn(_republish(env, preview), name="republishing")
                            return_freed_memory()
                            yield Playground(front.url, glass_box.url, parts, bot, env, preview)
                    finally:
                        await parts.scheduler.stop()
                        await bot.queues.drain(5.0)


def _for_play(settings: Settings, folder: Path) -> Settings:
    """Return the operator's settings with temporary data and a training round every few seconds."""
    return replace(
        settings,
        storage=replace(
            settings.storage,
            url="",
            data_dir=folder / "data",
            key_dir=folder / "keys",
            key_url="",
            master_key_env="",
            master_key_command=(),
        ),
        operator=replace(settings.operator, metrics_port=0),  # a bot beside it may have the port
        personalization=replace(settings.personalization, round_every_s=3.0, round_min_labels=1),
    )


def _populate(env: simcord.Env) -> tuple[simcord.ChannelHandle, list[simcord.MemberActor]]:
    """Create the server with its channel and its members, one of whom is a manager."""
    guild = env.create_guild("Simpatico playground")
    channel = guild.create_text_channel("playground")
    manager = guild.create_role("Manager", permissions=discord.Permissions(manage_guild=True))
    return channel, [
        guild.add_member(
            env.create_user(name, global_name=name.title()), roles=[manager] if name == MANAGER else []
        )
        for name in MEMBERS
    ]


async def _introduce(bot: SimpaticoBot, channel_id: int, glass_box: str, writer: str) -> None:
    channel = bot.get_channel(channel_id)
    assert bot.user is not None and isinstance(channel, discord.TextChannel)
    await bot.user.edit(username="Simpatico")
    # An embed: the bot's own text would be part of every context here, and the model would repeat it.
    beside = f"[Watch me learn in a second window]({glass_box}): all answers, their chances, and your taste."
    embed = (
        discord.Embed(description=WELCOME).add_field(name="Glass box", value=beside).set_footer(text=writer)
    )
    await channel.send(embed=embed)


async def _set_clock(env: simcord.Env) -> None:
    """Advance the simulated clock, which does not move by itself, to the current time."""
    await env.advance_time(max(0.0, (datetime.now(UTC) - env.now()).total_seconds()))


class _Detached:
    """Starts answers that simcord must not wait for.

    simcord counts every task that bot code starts as part of the current click and waits for its end.
    Coroutines given to :meth:`spawn` are started by a task that is older than the bot, so they do not count.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Coroutine[Any, Any, None], AsyncWebhookAdapter]] = asyncio.Queue()
        self._tasks = Tasks()

    async def __aenter__(self) -> _Detached:
        self._tasks.spawn(self._start(), name="starter")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._tasks.close()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start ``coroutine`` outside of the bot's tasks, with the same adapter to answer commands."""
        self._queue.put_nowait((coroutine, async_context.get()))

    async def _start(self) -> None:
        while True:
            coroutine, adapter = await self._queue.get()
            async_context.set(adapter)  # the new task inherits it; it belongs to the simulated Discord
            self._tasks.spawn(coroutine)


async def _republish(env: simcord.Env, preview: simcord.Preview) -> None:
    """Publish the page again when the simulated Discord changes outside of a click."""
    changed = asyncio.Event()
    env.backend.subscribers.append(lambda event, payload: changed.set())
    while True:
        await changed.wait()
        # Publish a reply and its reactions together: a click on an older page would be rejected.
        for _ in range(_MOST_WAITS):
            changed.clear()
            await asyncio.sleep(_QUIET_S)
            if not changed.is_set():
                break
        changed.clear()
        try:
            await _set_clock(env)
            await preview.refresh()
        except simcord.SetupError:  # a click is running; it publishes too, but maybe before our change
            await asyncio.sleep(0.3)
            changed.set()
