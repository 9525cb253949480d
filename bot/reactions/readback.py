"""What Discord shows now: history pages, single messages, and who gave a reaction. One request a call.

Asks through discord.py's HTTP client and its handling of rate limits, but not through its models: those
page by themselves, and a caller that keeps to a budget must see every request. Part of
:mod:`bot.reactions.reconciler`.

Errors::

    NotNow          Discord does not answer well; try again later
    NotHere         this channel is closed to the bot, or gone: leave it alone
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
"""Messages or people in one answer; Discord gives no more."""

_UNKNOWN_MESSAGE, _UNKNOWN_EMOJI = 10008, 10014

Key = tuple[str, bool]
"""(emoji as it is stored, burst)."""


class NotNow(Exception):
    """Discord does not answer well; try again later."""


class NotHere(Exception):
    """This channel is closed to the bot, or gone; leave it alone."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A message as Discord shows it.

    Attributes:
        counts: (emoji, burst) -> how many others than the bot gave it.
        spellings: (emoji, burst) -> how Discord's API wants to be asked for it.
    """

    message_id: int
    counts: dict[Key, int] = field(default_factory=dict[Key, int])
    spellings: dict[Key, list[str]] = field(default_factory=dict[Key, list[str]])


class Readback:
    """Reads from Discord. Every method makes one request, and may raise :class:`NotNow`."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def page(self, channel_id: int, before: int) -> list[Shown]:
        """Up to :data:`PAGE` messages with ids below ``before``, newest first.

        Empty also where the bot may not read the history.

        Raises:
            NotHere: The channel is closed or gone.
        """
        found = await _answer(self._client.http.logs_from(channel_id, PAGE, before=before))
        return [_shown(message) for message in found or ()]

    async def is_gone(self, channel_id: int, message_id: int) -> bool:
        """Whether this message was deleted.

        Raises:
            NotHere: The channel is closed or gone.
        """
        return await _answer(self._client.http.get_message(channel_id, message_id)) is None

    async def users(
        self, channel_id: int, message_id: int, spelling: str, burst: bool, after: int
    ) -> list[int]:
        """Ids of up to :data:`PAGE` users above ``after`` who gave a reaction, ascending.

        Raises:
            NotHere: The channel is closed or gone.
        """
        asked = self._client.http.get_reaction_users(
            channel_id, message_id, spelling, PAGE, after or None, 1 if burst else 0
        )
        return sorted(int(user["id"]) for user in await _answer(asked) or ())


async def _answer(request: Awaitable[T]) -> T | None:
    """What Discord answers; None where the message or its reaction is gone.

    Raises:
        NotNow: A fault of Discord or of the network.
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
