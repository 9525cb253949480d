"""Fixtures for scenarios with the running bot, shared with the integration tests."""

from __future__ import annotations

import discord
import pytest

from tests.integration.conftest import settings, with_bot, world

__all__ = ["settings", "with_bot", "world"]


@pytest.fixture
def boss(world):
    """A member who manages the server."""
    role = world.guild.create_role("boss", permissions=discord.Permissions(manage_guild=True))
    return world.guild.add_member(world.env.create_user("boss"), roles=[role])
