"""Reads from Discord: pages of history, single messages, and users of a reaction. One request per call.

Uses discord.py's HTTP client with its rate limits, but not its models: those page by themselves, and the
caller has a budget and must see every request. Part of :mod:`bot.reactions.reconciler`.

Errors::

    NotNow          Discord or the network fails; try again later
    NotHere         the bot may not read this channel, or it is gone; skip it
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
import discord

from personalization.labels.labels import emoji_key

T = TypeVar("T")

PAGE = 100
"""Messages or users in one response; Discord's limit."""

_UNKNOWN_MESSAGE, _UNKNOWN_EMOJI = 10008, 10014

Key = tuple[str, bool]
"""(stored key of the emoji, burst)."""


class NotNow(Exception):
    """Discord or the network fails; try again later."""


class NotHere(Exception):
    """The bot may not read this channel, or it is gone; skip it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The reactions that Discord shows under a message.

    Attributes:
        counts: (emoji, burst) -> number of users without the bot.
        spellings: (emoji, burst) -> the emoji in the forms that Discord's API expects.
    """

    message_id: int
    counts: dict[Key, int] = field(default_factory=dict[Key, int])
    spellings: dict[Key, list[str]] = field(default_factory=dict[Key, list[str]])


class Readback:
    """Reads from Discord. Every method makes one request, and may raise :class:`NotNow`."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def page(self, channel_id: int, before: int) -> list[Shown]:
        """Return up to :data:`PAGE` messages with ids below ``before``, newest first.

        Empty also where the bot may not read the history.

        Raises:
            NotHere: The channel is closed or gone.
        """
        found = await _answer(self._client.http.logs_from(channel_id, PAGE, before=before))
        return [_shown(message) for message in found or ()]

    async def is_gone(self, channel_id: int, message_id: int) -> bool:
        """Return whether this message was deleted.

        Raises:
            NotHere: The channel is closed or gone.
        """
        return await _answer(self._client.http.get_message(channel_id, message_id)) is None

    async def users(
        self, channel_id: int, message_id: int, spelling: str, burst: bool, after: int
    ) -> list[int]:
        """Return ids of up to :data:`PAGE` users above ``after`` who gave a reaction, ascending.

        Raises:
            NotHere: The channel is closed or gone.
        """
        asked = self._client.http.get_reaction_users(
            channel_id, message_id, spelling, PAGE, after or None, 1 if burst else 0
        )
        return sorted(int(user["id"]) for user in await _answer(asked) or ())


async def _answer(request: Awaitable[T]) -> T | None:
    """Return Discord's response; None when the message or its reaction is gone.

    Raises:
        NotNow: Discord or the network failed.
        NotHere: 403, or an unknown channel.
    """
    try:
        return await request
    except (discord.Forbidden, discord.NotFound) as exc:
        if exc.code in (_UNKNOWN_MESSAGE, _UNKNOWN_EMOJI):
            return None
        raise NotHere from exc
    except (discord.HTTPException, aiohttp.ClientError, OSError) as exc:
        raise NotNow from exc


def _shown(message: Any) -> Shown:
    shown = Shown(int(message["id"]))
    for reaction in message.get("reactions", ()):
        emoji = reaction["emoji"]
        custom_id = int(emoji["id"]) if emoji.get("id") else None
        name = emoji.get("name") or "_"
        details = reaction.get("count_details", {"normal": reaction["count"], "burst": 0})
        for burst, kind, own in ((False, "normal", "me"), (True, "burst", "me_burst")):
            count = details[kind] - bool(reaction.get(own))
            key = emoji_key(name, custom_id), burst
            shown.counts[key] = shown.counts.get(key, 0) + count
            shown.spellings.setdefault(key, []).append(name if custom_id is None else f"{name}:{custom_id}")
    return shown
