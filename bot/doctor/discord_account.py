"""Checks of the bot's Discord account: token, intents, and permissions in its servers."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import discord

from bot.doctor import Finding, failed, ok, warning
from bot.proxies import Proxy, client_options, expecting_discord, proxy_refusal
from bot.servers.identify_budget import GatewayLimits, limits_of
from bot.settings import BotSettings
from storage.wording import counted

PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    read_message_history=True,
    add_reactions=True,
)
"""Permissions that the bot needs in a server, as listed in README.md."""

_TOKEN = re.compile(r"([\w-]{18,})\.[\w-]{4,}\.[\w-]{20,}", re.ASCII)
_TIMEOUT_S = 20.0
_MOST_SERVERS = 25
"""Maximum number of servers to check; each takes two requests."""
_PORTAL = "the Discord developer portal (https://discord.com/developers/applications)"


def invite_link(application_id: int) -> str:
    """Return the link that adds the bot to a server with exactly the permissions it needs."""
    scopes = ("bot", "applications.commands")
    return discord.utils.oauth_url(application_id, permissions=PERMISSIONS, scopes=scopes)


def id_in(token: str) -> int | None:
    """Return the account id in the first part of a token; None if the text is not a token."""
    if (parts := _TOKEN.fullmatch(token)) is None:
        return None
    encoded = parts[1]
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return int(decoded) if decoded.isdigit() and 15 <= len(decoded) <= 20 else None


async def examine_account(
    token: str | None, settings: BotSettings, proxy: Proxy | None = None
) -> AsyncIterator[Finding]:
    """Check the format of the token, then log in to Discord with it, through the proxy if there is one."""
    if token is None:
        yield warning(
            "token",
            f"no {settings.token_env} in the environment or in .env: `simpatico` opens the playground. For "
            f"Discord, copy the token from {_PORTAL}, Bot, Reset Token",
        )
        return
    if id_in(token) is None:
        yield failed(
            "token",
            f"{settings.token_env} is not a bot token: expected three parts separated by dots, without"
            f" quotes or 'Bot' in front, found {counted(len(token), 'character')} in"
            f" {counted(len(token.split('.')), 'part')};"
            f" copy it again from {_PORTAL}, Bot, Reset Token",
        )
        return
    # These intents cause no warning; no gateway connection is made.
    client = discord.Client(intents=discord.Intents(guilds=True), **client_options(proxy))
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            with expecting_discord(client):
                await client.login(token)
            via = f" through the proxy {proxy.address}" if proxy else ""
            link = invite_link(_application(client))
            yield ok("token", f"Discord accepts it{via}; invite the bot with {link}")
            yield _intents(client, settings)
            if (limits := await limits_of(client)) is not None:  # Discord's answer may be unreadable
                yield _shards(limits, settings.shard_count)
            yield await _servers(client)
    except discord.LoginFailure:
        yield failed("token", f"Discord refuses it; copy a new one from {_PORTAL}, Bot, Reset Token")
    except discord.HTTPException as exc:
        yield warning("Discord", f"answered {exc.status} (code {exc.code}); try again later")
    except (OSError, aiohttp.ClientError) as exc:
        if (refusal := proxy_refusal(exc, proxy)) is not None:
            yield failed("proxy", refusal)
            return
        yield warning(
            "token",
            f"has the right format, but Discord could not be asked ({type(exc).__name__}): check the network,"
            " a proxy or a firewall if the bot cannot connect either",
        )
    finally:
        await client.close()


def _application(client: discord.Client) -> int:
    assert client.application_id is not None, "logged in"
    return client.application_id


def _intents(client: discord.Client, settings: BotSettings) -> Finding:
    flags = client.application_flags
    granted = flags.gateway_message_content or flags.gateway_message_content_limited
    if not settings.message_content:
        return ok("intents", "no privileged intent is requested, none is needed")
    if granted:
        return ok("intents", "message content is switched on")
    return failed(
        "intents",
        "message_content = true, but the application may not read message content: switch it on in"
        f" {_PORTAL}, Bot, Privileged Gateway Intents, or set message_content = false",
    )


def _shards(limits: GatewayLimits, count: int) -> Finding:
    """Compare the number of shards with the one that Discord recommends, and look at the sessions left."""
    left = f"{limits.remaining:,} of {counted(limits.total, 'session')} of this day are left"
    if limits.remaining < limits.total / 2:
        return warning("shards", f"{left}, so connecting takes longer today; look for restarts in the log")
    if 0 < count < limits.shards:
        return warning(
            "shards",
            f"shard_count = {count}, but Discord recommends {limits.shards}: set it in all processes at once,"
            " or to 0 with one process",
        )
    return ok("shards", f"{count or limits.shards}, of {limits.shards} that Discord recommends; {left}")


async def _servers(client: discord.Client) -> Finding:
    """Count the servers of the bot, and the permissions that it lacks there."""
    assert client.user is not None, "logged in"
    missing: Counter[str] = Counter()
    n_servers = n_lacking = 0
    async for partial in client.fetch_guilds(limit=_MOST_SERVERS):
        guild = await client.fetch_guild(partial.id, with_counts=False)
        granted = (await guild.fetch_member(client.user.id)).guild_permissions
        lacking = [name for name, needed in PERMISSIONS if needed and not getattr(granted, name)]
        n_servers, n_lacking = n_servers + 1, n_lacking + bool(lacking)
        missing.update(lacking)
    if not n_servers:
        return warning("servers", "the bot is not in a server yet; open the invite link above")
    if not missing:
        return ok("servers", f"in {n_servers}, with every permission it needs")
    names = ", ".join(f"{name.replace('_', ' ')} ({n})" for name, n in missing.most_common())
    return warning(
        "servers",
        f"in {n_lacking} of {n_servers} a permission is missing: {names}; give it to the bot's role, or open"
        " the invite link again",
    )
