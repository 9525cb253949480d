"""Members and faults of the soak's simulated Discord."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import simcord
from simcord.actors import MemberActor
from simcord.backend import serializers
from simcord.builders import ChannelHandle, GuildHandle, UserHandle

from storage.failpoints import switch_on
from storage.maintenance.backup import back_up
from storage.settings import StorageSettings
from tests.rig.outages import ready_payload
from tests.rig.soak_model import NAMES, SAID, Given, Model, Step

N_MEMBERS = 14
MOST_REPLIES = 120
EMOJI = ("👍", "👎", "❤️", "🎉")
STEPS = {"react": 60, "unreact": 20, "ask": 16, "look": 2, "rate": 2, "delete": 1, "leave": 3}
FAULTS = ("resumed", "new session", "discord fails", "disk fails", "backup", "none", "none", "none")


def say(what: str, /, **content: Any) -> None:
    os.write(1, f"{what} {json.dumps(content)}\n".encode())


class Members:
    """All members of the simulated Discord; they act and keep the model in step."""

    def __init__(self, env: simcord.Env, model: Model, rng: random.Random, storage: StorageSettings) -> None:
        self.env, self.model, self.rng, self.storage = env, model, rng, storage
        self.house_folder = storage.data_dir.parent
        self.doubled = 0
        self.unanswered = 0
        if not model.users:
            self._move_in()
        guild = GuildHandle(env, env.backend.guilds[model.guild_id])
        self.channels = [ChannelHandle(env, guild, env.backend.channels[one]) for one in model.channels]
        self.actors = {
            one: MemberActor(env, guild, UserHandle(env, env.backend.users[one])) for one in model.users
        }

    def _move_in(self) -> None:
        guild = self.env.create_guild("Server of the soak")
        self.model.guild_id = guild.id
        self.model.channels = [guild.create_text_channel(f"room-{number}").id for number in range(2)]
        for number in range(N_MEMBERS):
            user = self.env.create_user(f"{NAMES} {number}")
            guild.add_member(user)
            self.model.users.append(user.id)

    async def step(self) -> None:
        """One random member does one random thing."""
        (what,) = self.rng.choices(list(STEPS), list(STEPS.values()))
        await getattr(self, f"_{what}")(self.anybody())

    def anybody(self) -> int:
        """Draw a member."""
        return self.rng.choice(self.model.users)

    def _say(self, what: str, user_id: int = 0, message_id: int = 0, emoji: str = "") -> None:
        say("step", **Step(what, user_id, message_id, emoji)._asdict())
        self.model.n_events += 1

    async def _settle(self) -> None:
        if self.env._started:  # otherwise the bot is offline
            await self.env.settle()

    def _given_by(self, user_id: int) -> list[Given]:
        return sorted(one for one in self.model.given if one.user_id == user_id)

    def _message(self, message_id: int) -> Any:
        return next(
            (here[message_id] for here in self.env.backend.messages.values() if message_id in here), None
        )

    async def _react(self, user_id: int, *, unheard: bool = False) -> None:
        since = self.model.since.get(user_id, 0) if unheard else 0
        replies = [reply for reply in self.model.replies if reply > since]
        if not replies:
            return
        given = Given(user_id, self.rng.choice(replies), self.rng.choice(EMOJI))
        if given not in self.model.given:
            await self.react(given)

    async def react(self, given: Given) -> None:
        """Add a reaction."""
        self._say("react", *given)
        channel_id = self._message(given.message_id).channel_id
        self.env.backend.set_reaction(channel_id, given.message_id, given.emoji, given.user_id, True)
        await self._settle()
        self.model.given.add(given)

    async def _unreact(self, user_id: int) -> None:
        if own := self._given_by(user_id):
            await self.unreact(self.rng.choice(own))

    async def unreact(self, given: Given) -> None:
        """Remove a reaction."""
        self._say("unreact", *given)
        channel_id = self._message(given.message_id).channel_id
        self.env.backend.remove_reaction(channel_id, given.message_id, given.emoji, given.user_id)
        await self._settle()
        self.model.given.discard(given)

    async def _ask(self, user_id: int) -> None:
        if user_id not in self.model.agreed and self.rng.random() < 0.7:
            return await self._agree(user_id)
        self._say("ask", user_id)
        channel = self.rng.choice(self.channels)
        me = self.env.bot.user.id
        asked = await self.actors[user_id].send(channel, f"<@{me}> {SAID} {self.rng.random()}")
        answers = [
            message
            for message in self.env.backend.messages[channel.id].values()
            if message.author_id == me and str((message.reference or {}).get("message_id")) == str(asked.id)
        ]
        self.doubled += max(0, len(answers) - 1)
        self.unanswered += not answers
        if answers and user_id in self.model.agreed:
            self.model.replies[answers[0].id] = user_id
        if len(self.model.replies) > MOST_REPLIES:
            await self._delete(user_id, next(iter(self.model.replies)))

    async def _delete(self, _user_id: int, message_id: int = 0) -> None:
        message_id = message_id or (self.rng.choice(list(self.model.replies)) if self.model.replies else 0)
        if message_id:
            self._say("delete", message_id=message_id)
            self.env.backend.delete_message(self._message(message_id).channel_id, message_id)
            await self._settle()
            self.model.replies.pop(message_id)
            self.model.given = {one for one in self.model.given if one.message_id != message_id}

    async def _agree(self, user_id: int) -> None:
        await self._take_all_back(user_id)
        self._say("agree", user_id)
        shown = await self.actors[user_id].slash(self.channels[0], "privacy")
        await self.actors[user_id].click(shown.response, label="Learn what I like")
        self.model.since[user_id] = max(self.model.replies, default=0)

    async def _leave(self, user_id: int) -> None:
        await self._take_all_back(user_id)
        await self.leave(user_id)

    async def leave(self, user_id: int) -> None:
        """Use ``/forget-me``."""
        self._say("leave", user_id)
        shown = await self.actors[user_id].slash(self.channels[0], "forget-me")
        await self.actors[user_id].click(shown.response, label="Forget everything about me")
        self.model.since.pop(user_id, None)
        self.model.replies = {reply: asker for reply, asker in self.model.replies.items() if asker != user_id}

    async def _take_all_back(self, user_id: int) -> None:
        for given in self._given_by(user_id):
            await self.unreact(given)

    async def _look(self, user_id: int) -> None:
        self._say("look", user_id)
        for command in ("privacy", "status"):
            await self.actors[user_id].slash(self.channels[0], command)

    async def _rate(self, user_id: int) -> None:
        self._say("rate", user_id)
        await self.actors[user_id].slash(self.channels[0], "feedback")

    async def act_unheard(self) -> None:
        """Act while the bot receives no events."""
        for _ in range(8):
            await self._react(self.anybody(), unheard=True)
            await self._unreact(self.anybody())
        if self.rng.random() < 0.3:
            await self._delete(0)

    async def set_right(self, under_way: list[Step]) -> None:
        """Repair the steps that a kill interrupted: repeat each as a member would, so that it is certain."""
        for step in under_way:
            given = Given(step.user_id, step.message_id, step.emoji)
            if step.what in ("react", "unreact") and self._message(given.message_id) is not None:
                if given not in self.model.given:
                    await self.react(given)
                await self.unreact(given)
            elif step.what == "delete" and step.message_id in self.model.replies:
                await self._delete(0, step.message_id)
            elif step.what in ("leave", "agree"):
                await self._leave(step.user_id)


class Faults:
    """Faults of Discord and of the disk."""

    def __init__(self, env: simcord.Env, members: Members, rng: random.Random) -> None:
        self.env, self.members, self.rng = env, members, rng

    async def one(self) -> str:
        """Cause one random fault and return its name."""
        fault = self.rng.choice(FAULTS)
        if fault != "none":
            await getattr(self, f"_{fault.replace(' ', '_')}")()
        return fault

    @contextmanager
    def _cut_off(self) -> Iterator[list[tuple[str, Any]]]:
        missed: list[tuple[str, Any]] = []
        subscribers, self.env.backend.subscribers = (
            self.env.backend.subscribers,
            [lambda event, payload: missed.append((event, payload))],
        )
        try:
            yield missed
        finally:
            self.env.backend.subscribers = subscribers

    async def _resumed(self) -> None:
        """Break the connection and resume it: events arrive late and in order, some of them twice."""
        self.env.bot.dispatch("disconnect")
        with self._cut_off() as missed:
            for _ in range(6):
                await self.members._react(self.members.anybody())
                await self.members._unreact(self.members.anybody())
        again = missed[len(missed) // 2 :]
        for event, payload in [*missed, *again]:
            self.env.backend.emit(event, payload)
        self.env.bot.dispatch("resumed")
        await self.env.settle()

    async def _discord_fails(self) -> None:
        """Let Discord answer some requests with errors."""
        status = self.rng.choice((403, 429, 500, 503))
        # After a 403 on its history the bot does not read a channel for a day, so 403 hits only writing.
        for method, path in (("POST", "/channels/*/messages"), ("PUT", "/channels/*/messages/*/reactions/*")):
            self.env.inject_error(method if status == 403 else "*", path, status=status, times=4)
        for _ in range(2):
            await self.members._ask(self.members.anybody())
        self.env.backend.faults.clear()

    async def _disk_fails(self) -> None:
        """Let commits fail; the bot reads back from Discord what was not written."""
        switch_on("writer.before-commit=disk@1")
        for _ in range(3):
            await self.members._react(self.members.anybody(), unheard=True)
        switch_on("")

    async def _new_session(self) -> None:
        """Break the connection and start a new session: the events in between are lost."""
        self.env.bot.dispatch("disconnect")
        with self._cut_off():
            await self.members.act_unheard()
        backend = self.env.backend
        self.env.bot._connection.parsers["READY"](ready_payload(backend))
        for guild in backend.guilds.values():
            backend.emit("GUILD_CREATE", dict(serializers.guild_create_payload(backend, guild)))

    async def _backup(self) -> None:
        """Back up the data while the bot writes. This is not a fault and must cause none."""
        copy = self.members.house_folder / "copy.db"
        copy.unlink(missing_ok=True)
        copying = asyncio.create_task(asyncio.to_thread(back_up, self.members.storage, copy))
        for _ in range(5):
            await self.members._react(self.members.anybody())
        await copying
