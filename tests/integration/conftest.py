"""Fixtures: the real bot in a simulated Discord, with a real store and scripted candidates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import simcord

from bot.app.composition import House, open_house
from bot.client import SimpaticoBot, create_bot
from bot.config import Settings, parse_settings
from bot.generation import ANY_SHAPE
from tests.fakes import HashEncoder, ScriptedGenerator
from tests.rig.newest import newest


@dataclass
class World:
    """A running bot in a server with a channel and two members."""

    env: simcord.Env
    bot: SimpaticoBot
    house: House
    generator: ScriptedGenerator
    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    alice: simcord.MemberActor
    ben: simcord.MemberActor

    async def ask(self, who: simcord.MemberActor, text: str = "hello"):
        """Mention the bot and return its reply."""
        await who.send(self.channel, f"<@{self.bot.me}> {text}")
        return newest(self.channel)

    async def agree(self, who: simcord.MemberActor) -> None:
        """Consent to learning through ``/privacy``, as a member does."""
        shown = await who.slash(self.channel, "privacy")
        await who.click(shown.response, label="Learn what I like")


@pytest.fixture
def settings(tmp_path) -> Settings:
    """Settings with data and keys in ``tmp_path`` and without exploration."""
    return parse_settings(
        {
            "storage": {
                "data_dir": str(tmp_path / "data"),
                "key_dir": str(tmp_path / "keys"),
                "group_commit_ms": 1,
            },
            "personalization": {"policy": "greedy"},
        }
    )


def shapeless(settings: Settings) -> Settings:
    """Return the settings with styles that have no shape, so that scripted texts stay as they are."""
    styles = tuple(replace(style, shape=ANY_SHAPE) for style in settings.generator.styles)
    return replace(settings, generator=replace(settings.generator, styles=styles))


@asynccontextmanager
async def opened(
    settings: Settings, *, guild_name: str = "Test server", spawn=asyncio.create_task, **parts
) -> AsyncIterator[World]:
    """Open a house, a bot and a simulated Discord; ``spawn`` starts the tasks that answer."""
    parts.setdefault("encoder", HashEncoder())
    parts.setdefault("seed", 0)
    generator = parts.setdefault("generator", ScriptedGenerator())
    with ThreadPoolExecutor(1) as executor:  # a thread starts faster than a process
        parts.setdefault("trainer_executor", executor)
        async with open_house(settings, **parts) as house:
            bot = create_bot(settings.bot, house.parts, spawn=spawn, always_sync=True)
            env = simcord.Env(bot, settle_timeout=60.0)
            await env.start()
            try:
                guild = env.create_guild(guild_name)
                yield World(
                    env=env,
                    bot=bot,
                    house=house,
                    generator=generator,
                    guild=guild,
                    channel=guild.create_text_channel("general"),
                    alice=guild.add_member(env.create_user("alice")),
                    ben=guild.add_member(env.create_user("ben")),
                )
            finally:
                await env.shutdown()
    env._raise_errors_since(env._errors_acknowledged)


@pytest.fixture
async def world(settings) -> AsyncIterator[World]:
    """A server with a channel, the bot, Alice and Ben."""
    async with opened(settings) as world:
        yield world


@pytest.fixture
def with_bot(settings):
    """Change keys of the section ``[bot]``: ``with_bot(chat_channels=(1,))``."""
    return lambda **changes: replace(settings, bot=replace(settings.bot, **changes))
