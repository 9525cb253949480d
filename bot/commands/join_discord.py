"""``simpatico run``: connect to Discord and stop in an orderly way; without a token, open the playground."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Callable, Generator
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import aiohttp
import discord

from bot.app.composition import House, open_house
from bot.app.config_reload import Reloader, put_into_use
from bot.app.health import health_of
from bot.app.monitor import open_monitor
from bot.app.schedule import DAY_S, HOUR_S
from bot.app.sharded_client import create_sharded_bot
from bot.app.stop_deadline import StopDeadline
from bot.app.watchdog import Watchdog
from bot.commands import DiscordRefused, playground
from bot.config import Settings, config_path, discord_proxy, read_secret
from bot.proxies import Proxy, proxy_refusal
from bot.servers.identify_budget import recommended_shards
from storage.maintenance.audit_trail import Act, AuditTrail

_CLOSED = {
    4004: "it refused the token; copy a fresh one from the developer portal",
    4010: "it does not know this shard; correct shard_count and shard_ids under [bot]",
    4011: "a connection has too many servers; set a larger shard_count, or 0, under [bot]",
    4012: "this version of Discord's interface ended; install a newer discord.py",
    4013: "it does not know an intent of the bot; install a newer version of the bot",
}
"""Codes after which Discord does not want another try -> what to do."""


def run(arguments: argparse.Namespace, settings: Settings) -> None:
    """Run the bot on Discord until it is stopped, or the playground when no token is set.

    Raises:
        DiscordRefused: Discord could not be reached or refused the bot.
        ConfigError: The playground cannot be opened.
        StorageError: Data or keys cannot be opened.
        GeneratorError: The language model cannot be loaded.
        EncoderError: The encoder cannot be loaded.
    """
    token = read_secret(settings.bot.token_env)
    if token is not None:
        with StopDeadline() as deadline:
            asyncio.run(serve(settings, token, lambda: config_path(arguments.config), deadline))
        return
    missing = f"No {settings.bot.token_env} in the environment or in .env"
    print(f"{missing}: opening the playground instead.", flush=True)
    playground.run(arguments, settings)


async def serve(
    settings: Settings, token: str, find_config: Callable[[], Path | None], deadline: StopDeadline
) -> None:
    """Stay connected to Discord until SIGTERM or SIGINT, then finish running work and disconnect.

    Args:
        settings: All sections.
        token: The bot token.
        find_config: Returns the configuration file to watch for changes; None: there is none.
        deadline: Starts to count when a signal asks the bot to stop.

    Raises:
        DiscordRefused: Discord could not be reached or refused the bot.
        ConfigError: The environment names a proxy that cannot be used.
    """
    proxy = discord_proxy(settings.bot)
    shard_count = settings.bot.shard_count or await recommended_shards(token, proxy)
    async with (
        open_house(settings, progress=True) as house,
        health_of(
            bot := create_sharded_bot(settings.bot, house.parts, shard_count, proxy=proxy), house.scheduler
        ) as health,
        open_monitor(settings.operator, bot, health.routes()),
        Watchdog(bot.metrics),
        Reloader(
            find_config, settings, lambda changed: put_into_use(changed, house, bot), audit=house.parts.audit
        ).listening(),
    ):
        loop = asyncio.get_running_loop()
        running = asyncio.create_task(bot.start(token))
        closing: list[asyncio.Task[None]] = []

        def close() -> None:
            deadline.start()
            closing.append(loop.create_task(bot.close()))

        for stop in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # event loops on Windows have no signal handlers
                loop.add_signal_handler(stop, close)
        try:
            await record_start(house.parts.audit, settings)
            await _count_consents(house)
            house.scheduler.add("read back", bot.reconciler.look_thoroughly, DAY_S)
            house.scheduler.add("sessions", bot.identifies.look, HOUR_S)
            house.scheduler.add("audit", partial(_count_consents, house), DAY_S)
            house.scheduler.start()
            with _refusals(proxy):
                await running
        finally:
            await bot.close()
            await asyncio.gather(*closing)


@contextlib.contextmanager
def _refusals(proxy: Proxy | None) -> Generator[None]:
    """Explain why the connection to Discord ended.

    Raises:
        DiscordRefused: It failed.
    """
    try:
        yield
    except (OSError, aiohttp.ClientError, discord.DiscordException) as exc:
        raise DiscordRefused(_explained(exc, proxy)) from exc


async def record_start(audit: AuditTrail, settings: Settings) -> None:
    """Record the start, and a fingerprint of the configuration, which may have changed before."""
    fingerprint = sha256(repr(settings).encode()).hexdigest()[:16]
    act = partial(audit.note, Act.START, version=version("simpatico"), configuration=fingerprint)
    await asyncio.to_thread(act)


async def _count_consents(house: House) -> None:
    agreed = await house.store.consent.count()
    await asyncio.to_thread(house.parts.audit.note, Act.CONSENTS, agreed=agreed)


def _explained(exc: Exception, proxy: Proxy | None) -> str:
    """Explain why the connection to Discord failed, and what to do."""
    if (refusal := proxy_refusal(exc, proxy)) is not None:
        return refusal
    match exc:
        case discord.LoginFailure():
            return "Discord refused the token; copy a fresh one from the developer portal"
        case discord.PrivilegedIntentsRequired():
            return (
                "message_content = true needs the message-content intent: switch it on in the Discord"
                " developer portal (Bot, Privileged Gateway Intents), or set it to false"
            )
        case discord.HTTPException():
            return f"Discord answered {exc.status} (code {exc.code}); try again later, or make a new token"
        case discord.ConnectionClosed():
            advice = _CLOSED.get(exc.code, "try again later")
            return f"Discord closed the connection (code {exc.code}): {advice}"
        case _:
            via = f" through the proxy {proxy.address}" if proxy else ""
            return f"Discord cannot be reached{via} ({exc}); check the network, then start again"
