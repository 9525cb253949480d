"""Seeded generator of what members do to the bot's replies in Discord, and the resulting state.

A schedule is a list of :class:`Act`, each possible at its time: a member adds only a missing reaction and
removes only an existing one. :class:`Truth` applies the acts and holds what Discord shows. The test decides
how acts reach the bot: in time, late, twice or never.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

EMOJI = ("👍", "👎", "❤️", "🎉", "👨‍👩‍👧", "blob:7700000000000000001")
"""Emoji in Discord's notation: custom ones as name:id."""

KINDS = {"add": 60, "remove": 25, "clear": 4, "clear_emoji": 6, "delete": 2}
"""Kinds of acts and their weights in the draw."""


@dataclass(frozen=True, slots=True)
class Act:
    """One act of a user on a message, with an emoji."""

    kind: str
    message_id: int
    user_id: int = 0
    emoji: str = ""
    burst: bool = False

    def event(self) -> str:
        """Name of the gateway event."""
        return {
            "add": "MESSAGE_REACTION_ADD",
            "remove": "MESSAGE_REACTION_REMOVE",
            "clear": "MESSAGE_REACTION_REMOVE_ALL",
            "clear_emoji": "MESSAGE_REACTION_REMOVE_EMOJI",
            "delete": "MESSAGE_DELETE",
        }[self.kind]

    def payload(self, guild_id: int, channel_id: int) -> dict[str, Any]:
        """Payload of the gateway event."""
        where = {"guild_id": str(guild_id), "channel_id": str(channel_id)}
        if self.kind == "delete":
            return where | {"id": str(self.message_id)}
        where["message_id"] = str(self.message_id)
        if self.kind == "clear":
            return where
        where |= {"emoji": emoji_payload(self.emoji)}
        if self.kind == "clear_emoji":
            return where
        return where | {"user_id": str(self.user_id), "burst": self.burst, "type": int(self.burst)}


def emoji_payload(emoji: str) -> dict[str, Any]:
    """Convert an emoji to Discord's JSON."""
    name, _, id_ = emoji.partition(":")
    return {"id": id_ or None, "name": name}


@dataclass
class Truth:
    """State of Discord: message -> its (user, emoji, burst) reactions."""

    standing: dict[int, set[tuple[int, str, bool]]] = field(default_factory=dict)

    def play(self, act: Act) -> None:
        """Apply ``act``."""
        here = self.standing[act.message_id]
        match act.kind:
            case "add":
                here.add((act.user_id, act.emoji, act.burst))
            case "remove":
                here.discard((act.user_id, act.emoji, act.burst))
            case "clear":
                here.clear()
            case "clear_emoji":
                here -= {one for one in here if one[1] == act.emoji}
            case "delete":
                del self.standing[act.message_id]
            case _:
                raise ValueError(act.kind)

    def by(self, user_id: int) -> dict[int, set[tuple[str, bool]]]:
        """Message -> reactions of this member on it; messages without any are left out."""
        own = {
            message: {(emoji, burst) for user, emoji, burst in here if user == user_id}
            for message, here in self.standing.items()
        }
        return {message: given for message, given in own.items() if given}


def acts(
    rng: random.Random,
    truth: Truth,
    users: list[int],
    emoji: tuple[str, ...] = EMOJI,
    kinds: dict[str, int] = KINDS,
) -> Iterator[Act]:
    """Draw possible acts and apply each to ``truth`` before yielding it; end when no message is left."""
    while truth.standing:
        message = rng.choice(sorted(truth.standing))
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        here = truth.standing[message]
        if kind == "add":
            given = (rng.choice(users), rng.choice(emoji), rng.random() < 0.2)
            if given in here:
                continue
        elif here and kind in ("remove", "clear_emoji"):
            given = rng.choice(sorted(here))
        elif kind in ("clear", "delete"):
            given = (0, "", False)
        else:
            continue
        if kind == "clear_emoji":
            given = (0, given[1], False)
        act = Act(kind, message, *given)
        truth.play(act)
        yield act
