"""Servers and members of a run: who may ask, who agreed, and what they react."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import simcord

from storage.records import Who
from tests.rig.discord_server import BOT_ID, DiscordServer
from tests.rig.scale.journal import Asked
from tests.rig.soak_model import Given

LOOK_S = 0.05
EMOJI = ("👍", "👎", "❤️")


@dataclass(frozen=True)
class Home:
    """A server, its channel, and the member who talks there."""

    guild: simcord.GuildHandle
    channel: simcord.ChannelHandle
    member: simcord.MemberActor

    @property
    def who(self) -> Who:
        """The member in the server."""
        return Who(self.guild.id, self.member.id)


@dataclass
class City:
    """All servers and members of a run.

    Args:
        server: The small Discord.
        n_shards: Shards of the bot.
        rng: Draws who does what.

    Attributes:
        homes: Server by channel id.
        agreed: Channel ids of the members who agreed.
        asked: The prompts so far, by message id.
        given: The reactions of members who agreed, as Discord shows them.
        replied: Replies to members who agreed: message -> channel.
        n_failed: Interactions that the bot did not answer.
    """

    server: DiscordServer
    n_shards: int
    rng: random.Random
    homes: dict[int, Home] = field(default_factory=dict)
    agreed: set[int] = field(default_factory=set)
    asked: dict[int, Asked] = field(default_factory=dict)
    given: set[Given] = field(default_factory=set)
    replied: dict[int, int] = field(default_factory=dict)
    n_failed: int = 0
    _waiting: dict[int, Asked] = field(default_factory=dict)
    _next: Asked | None = None

    def build(self, n_servers: int, n_members: int) -> None:
        """Make servers with a channel each, and spread the members over them."""
        world = self.server.world
        for number in range(n_servers):
            guild = world.create_guild(f"server {number}", shard_id=number % self.n_shards)
            channel = guild.create_text_channel("general")
            here = [
                guild.add_member(world.create_user(f"member {number}-{one}"))
                for one in range(max(1, n_members // n_servers + (number < n_members % n_servers)))
            ]
            self.homes[channel.id] = Home(guild, channel, here[0])
        world.backend.subscribers.append(self._hear)

    def shard_of(self, home: Home) -> int:
        """Return the shard of a server."""
        return (home.guild.id >> 22) % self.n_shards

    # ------------------------------------------------------------ acts

    async def agree(self, n_members: int) -> None:
        """Let members agree through ``/privacy``, a few at a time."""
        chosen = self.rng.sample(sorted(self.homes), n_members)
        turns = asyncio.Semaphore(4)

        async def one(channel_id: int) -> None:
            async with turns:
                for _ in range(5):  # as a member does who sees that the interaction failed
                    if await self._agrees(self.homes[channel_id]):
                        self.agreed.add(channel_id)
                        return
                    self.n_failed += 1

        await asyncio.gather(*(one(channel_id) for channel_id in chosen))

    async def _agrees(self, home: Home) -> bool:
        """Let a member use ``/privacy`` and its button; return whether the bot answered both."""
        shown = await home.member.slash(home.channel, "privacy")
        if not await _true(lambda: shown.response and shown.response.components):
            return False
        clicked = await home.member.click(shown.response, label="Learn what I like")
        return await _true(lambda: clicked.acknowledged)

    async def ask(self, *, patience_s: float) -> Asked:
        """Send a prompt in a server that waits for no reply.

        Args:
            patience_s: Age from which a server no longer waits for a reply that did not come.
        """
        now = time.monotonic()
        pool = sorted(self.agreed) if self.agreed and self.rng.random() < 0.5 else None
        for _ in range(1000):
            channel_id = self.rng.choice(pool or list(self.homes))
            before = self._waiting.get(channel_id)
            if before is None or now - before.sent_s > patience_s:
                break
        home = self.homes[channel_id]
        shard_id, number = self.shard_of(home), len(self.asked)
        heard = shard_id in self.served()
        # The message is sent in this step of the loop, so no reply comes before it is noted.
        self._next = Asked(number, 0, channel_id, shard_id, time.monotonic(), heard)
        await home.member.send(home.channel, f"<@{BOT_ID}> question {number}")
        return self._next

    def react(self) -> None:
        """Let a member who agreed react to a reply, or take a reaction back."""
        backend = self.server.world.backend
        if self.given and self.rng.random() < 0.2:
            one = self.rng.choice(sorted(self.given))
            backend.remove_reaction(self.replied[one.message_id], one.message_id, one.emoji, one.user_id)
            self.given.discard(one)
        elif self.replied:
            message_id = self.rng.choice(list(self.replied)[-200:])
            channel_id = self.replied[message_id]
            one = Given(self.homes[channel_id].member.id, message_id, self.rng.choice(EMOJI))
            if one not in self.given:
                backend.set_reaction(channel_id, message_id, one.emoji, one.user_id, True)
                self.given.add(one)

    # ---------------------------------------------------------- what is seen

    def served(self) -> set[int]:
        """Return the shards that have a connection."""
        sessions = self.server.gateway.sessions.values()
        return {one.shard_id for one in sessions if one.connection is not None}

    def waiting(self) -> list[Asked]:
        """Return the prompts without a reply."""
        return list(self._waiting.values())

    def _hear(self, event: str, payload: Any) -> None:
        """Note prompts and replies when Discord has them."""
        if event != "MESSAGE_CREATE" or payload.get("interaction_metadata"):
            return
        message_id, channel_id = int(payload["id"]), int(payload["channel_id"])
        if int(payload["author"]["id"]) != BOT_ID:
            assert self._next is not None, "only ask() sends messages of members"
            self._next.message_id = message_id
            self.asked[message_id] = self._waiting[channel_id] = self._next
            return
        parent = int((payload.get("message_reference") or {}).get("message_id", 0))
        asked = self.asked.get(parent)
        if asked is not None:
            asked.replies.append((message_id, time.monotonic()))
            if channel_id in self.agreed:
                self.replied[message_id] = channel_id
            if self._waiting.get(channel_id) is asked:
                del self._waiting[channel_id]


async def _true(condition: Callable[[], object]) -> bool:
    """Return whether a condition becomes true within 20 seconds, as long as a patient member waits."""
    for _ in range(400):
        if condition():
            return True
        await asyncio.sleep(LOOK_S)
    return False
