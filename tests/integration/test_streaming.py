"""Streaming: drafts are continued by edits in the channel; they can be stopped, and are filtered and stored.

Answers run in tasks that simcord does not wait for, as in the playground. It would otherwise wait for each
answer to end, and here members click in the middle of one.
"""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial

import pytest
import simcord

from bot.app.playground import _Detached
from bot.generation import GeneratorUnavailable
from bot.ui.stop_button import NOT_YOURS_TO_STOP
from storage.records import Who
from tests.integration.conftest import World, opened, shapeless

LONG = " ".join(f"This is sentence number {number}, and it goes on." for number in range(60))


@pytest.fixture
async def here(settings):
    """A world without pauses between edits and without bounds on replies, in which Alice agreed."""
    async with _Detached() as home, opened(shapeless(settings), spawn=home.spawn) as world:
        world.bot.streams.every_s = 0.01
        await world.agree(world.alice)
        yield world


async def answered(world: World, *drafts: str, further: tuple) -> None:
    """Let Alice ask; the candidates are drafts with these continuations."""
    world.generator.enqueue(*drafts)
    world.generator.unfinished.append(further)
    await world.alice.send(world.channel, f"<@{world.bot.me}> hello")


async def ended(world: World) -> simcord.MessageHandle:
    """Wait until the answer is complete and return the last message."""
    await world.bot.queues.wait_idle()
    return world.channel.last_message


async def shown(world: World, text: str) -> None:
    """Wait until the last message has this ending."""
    async with asyncio.timeout(20):
        while not world.channel.last_message.content.endswith(text):
            await asyncio.sleep(0.01)


async def stored(world: World) -> dict:
    """Return the latest reply to Alice as in the export of ``/my-data``."""
    ((_, exported),) = await world.house.store.privacy.export(Who(world.guild.id, world.alice.id))
    return exported["replies"][-1]


def edits(world: World) -> list[dict]:
    return [
        one.json
        for one in world.env.http_requests
        if one.method == "PATCH" and "/messages/" in one.path and one.path.startswith("/channels")
    ]


async def test_only_the_chosen_text_grows_and_what_is_shown_in_the_end_is_stored_and_described(here):
    look = asyncio.Event()
    await answered(here, "I think so.", "No.", further=(" Or not.", look.wait, f" Or not. {LONG}"))
    await shown(here, "Or not.")
    look.set()

    last = await ended(here)

    mine = [message for message in here.channel.history() if message.author.id == here.bot.me]
    row = await stored(here)
    (text,) = [text for text in row["texts"] if text.endswith("goes on.")]
    assert " ".join(message.content for message in mine).split() == text.split()
    assert len(mine) == 2
    assert [await here.house.store.replies.of_message(one.id) for one in mine] == [row["reply_id"]] * 2
    features = await here.house.ranker.describe(text)
    assert row["features"] == base64.b64encode(features.astype("<f4").tobytes()).decode()
    assert [message.components for message in mine] == [[], []]
    assert [reaction.emoji for reaction in last.reactions] == ["👍", "👎"]
    bodies = edits(here)
    assert bodies and all(body["allowed_mentions"]["parse"] == [] for body in bodies)
    chosen = text.split(" Or")[0]
    assert all(body["content"].startswith((chosen, "This is")) for body in bodies)


async def test_what_the_filter_would_drop_is_never_shown(here):
    await answered(here, "Look here.", further=(" Fine.", " Fine. Join discord.gg/abc now.", " Fine."))

    assert (await ended(here)).content == "Look here. Fine."
    assert (await stored(here))["texts"] == ["Look here. Fine."]
    assert not any("discord.gg" in json.dumps(body) for body in edits(here))


async def test_the_asker_alone_can_stop_it_and_what_is_there_is_the_reply(here):
    await answered(here, "One.", further=(" Two.", asyncio.Event().wait, " Two. Three."))
    await shown(here, "One. Two.")
    growing = here.channel.last_message

    refused = await here.ben.click(growing, label="Stop")
    assert (refused.ephemeral, refused.response.content) == (True, NOT_YOURS_TO_STOP)
    await here.alice.click(growing, label="Stop")

    reply = await ended(here)
    assert (reply.content, reply.components) == ("One. Two.", [])
    assert (await stored(here))["texts"] == ["One. Two."]


@pytest.mark.parametrize("how", ["nothing more", "broken off", "paused", "left"])
async def test_however_it_ends_what_is_shown_is_the_reply(here, how):
    async def breaks_off() -> None:
        raise GeneratorUnavailable("gone")

    ways = {
        "nothing more": (),
        "broken off": (breaks_off,),
        "paused": (partial(here.bot.pausing.pause, True), asyncio.Event().wait),
        "left": (partial(here.bot.privacy.forget, here.alice.id), asyncio.Event().wait),
    }
    await answered(here, "One.", further=ways[how])

    reply = await ended(here)
    assert (reply.content, reply.components) == ("One.", [])
    kept = await here.house.store.replies.of_message(reply.id)
    assert (kept is None) == (how == "left")
