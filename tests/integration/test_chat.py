"""Chat through Discord: which messages are answered, exactly once, in what form, and without pings."""

from __future__ import annotations

import asyncio
import json

import pytest
from simcord.backend.models import AllowedMentions

from bot.generation import GeneratorUnavailable, OnlyThoughts
from bot.messages import conversation
from storage.records import Who
from tests.integration.conftest import opened
from tests.rig.waiting import until


def sends(env) -> list[dict]:
    """Return the bodies of all messages that the bot sent."""
    return [
        entry.json
        for entry in env.http_requests
        if entry.method == "POST" and entry.path.endswith("/messages")
    ]


async def test_a_mention_is_answered_with_a_reply(world):
    world.generator.enqueue("Good evening!")

    reply = await world.ask(world.alice, "good evening")

    assert reply.content == "Good evening!"
    assert reply.author.id == world.bot.me
    assert reply.reference is not None
    assert [reaction.emoji for reaction in reply.reactions] == ["👍", "👎"]


async def test_a_direct_message_is_answered(world):
    world.generator.enqueue("Just us two.")

    await world.alice.send_dm("hello")

    assert world.alice.user.dm_channel.last_message.content == "Just us two."


async def test_a_reply_to_the_bot_is_answered_without_a_mention(world):
    world.generator.enqueue("first")
    first = await world.ask(world.alice, "start")
    world.generator.enqueue("second")

    await world.ben.send(world.channel, "and then?", reply_to=first)

    assert world.channel.last_message.content == "second"


async def test_a_reply_with_its_ping_off_cannot_be_read_and_is_told_so(world):
    first = await world.ask(world.alice)

    world.env.backend.create_message(
        world.channel.id,
        world.ben.id,
        "and then?",
        reference={"channel_id": str(world.channel.id), "message_id": str(first.id)},
        allowed_mentions=AllowedMentions(replied_user=False),
    )
    await world.env.settle()

    assert world.channel.last_message.content == conversation.UNREADABLE


async def test_a_server_that_is_not_known_yet_is_no_direct_message(world):
    await world.ask(world.alice)
    sent = next(entry for entry in world.env.backend.transcript if entry[1] == "MESSAGE_CREATE")[2]
    n_before = len(sends(world.env))

    payload = sent | {"id": str(int(sent["id"]) + 5), "guild_id": "123456789", "channel_id": "987654321"}
    world.bot._connection.parse_message_create(payload)
    await world.env.settle()

    assert len(sends(world.env)) == n_before


async def test_a_forwarded_reply_is_no_reply(world):
    first = await world.ask(world.alice)
    elsewhere = world.guild.create_text_channel("elsewhere")

    await world.ben.forward(first, elsewhere)

    assert [m.author.id for m in elsewhere.history()] == [world.ben.id]


async def test_an_unexpected_failure_is_told_and_logged(world, caplog):
    world.generator.queue.append(RuntimeError("device lost"))

    await world.ask(world.alice)

    assert world.channel.last_message.content == conversation.FAILED
    assert "device lost" in caplog.text


async def test_a_reaction_that_comes_before_the_reply_is_recorded_waits_for_it(world):
    await world.agree(world.alice)
    recorder, record = world.bot.responder.recorder, world.bot.responder.recorder.record

    async def react_then_record(who, place, decision):
        reaction = {"user_id": str(who.user_id), "guild_id": str(who.guild_id), "burst": False, "type": 0}
        reaction |= {"channel_id": str(place.channel_id), "message_id": str(place.message_ids[0])}
        world.bot._connection.parse_message_reaction_add(reaction | {"emoji": {"id": None, "name": "👍"}})
        for _ in range(20):  # the handler runs as far as it can
            await asyncio.sleep(0)
        return await record(who, place, decision)

    recorder.record = react_then_record
    await world.ask(world.alice)

    member_id = world.house.store.member_id(Who(world.guild.id, world.alice.id))
    rows = (await world.house.store.learning.feedback_of([member_id]))[member_id]
    assert [row.reactions for row in rows] == [("👍",)]


async def test_talk_among_people_is_left_alone(world):
    await world.alice.send(world.channel, "nobody asked the bot")

    assert world.channel.last_message.content == "nobody asked the bot"


async def test_everyone_is_no_mention_of_the_bot(world):
    await world.alice.send(world.channel, "@everyone look")

    assert world.channel.last_message.content == "@everyone look"


async def test_bots_and_webhooks_are_ignored(world):
    robot = world.guild.add_member(world.env.create_user("robot", bot=True))
    await robot.send(world.channel, f"<@{world.bot.me}> hello")
    hook = world.guild.create_webhook(world.channel)
    await hook.send(f"<@{world.bot.me}> hello")

    assert [m.author.id for m in world.channel.history() if m.author.id == world.bot.me] == []


async def test_chat_channels_and_their_threads_are_answered(settings, with_bot):
    async with opened(with_bot(message_content=True)) as world:
        world.bot.chat_channels.add(world.channel.id)
        world.generator.enqueue("in the channel")
        await world.alice.send(world.channel, "no mention")

        assert world.channel.last_message.content == "in the channel"


async def test_a_message_is_answered_once_however_often_it_arrives(world):
    message = await world.alice.send(world.channel, f"<@{world.bot.me}> hello")
    replies = len(sends(world.env))

    world.bot.dispatch("message", message)
    world.bot.dispatch("message", message)
    await world.env.settle()

    assert (replies, len(sends(world.env))) == (1, 1)


async def test_every_chunk_carries_a_nonce_and_no_mention_is_allowed(world):
    world.generator.enqueue("@everyone <@1> " + " ".join(f"This is sentence {n}." for n in range(150)))

    await world.ask(world.alice, "tell me everything")

    bodies = sends(world.env)
    assert len(bodies) == 2
    assert all(body["enforce_nonce"] is True for body in bodies)
    assert len({body["nonce"] for body in bodies}) == 2
    assert all(len(body["nonce"]) <= 25 for body in bodies)
    assert all(body["allowed_mentions"]["parse"] == [] for body in bodies)
    assert all(len(body["content"]) <= 2000 for body in bodies)


async def test_a_message_without_words_gets_a_friendly_note(world):
    await world.alice.send(world.channel, f"<@{world.bot.me}>")

    assert world.channel.last_message.content == conversation.EMPTY


async def test_a_4000_character_message_is_answered(world):
    world.generator.enqueue("short")
    await world.ask(world.alice, "short")
    sent = next(entry for entry in world.env.backend.transcript if entry[1] == "MESSAGE_CREATE")[2]
    world.generator.enqueue("That was long.")

    # Only members with a subscription may write this much, which the simulator does not know.
    long = sent | {"id": str(int(sent["id"]) + 1), "content": f"<@{world.bot.me}> " + "x" * 3975}
    world.env.backend.emit("MESSAGE_CREATE", long)
    await world.env.settle()

    assert world.channel.last_message.content == "That was long."
    assert world.generator.contexts[-1].message == "x" * 3975


async def test_a_model_that_is_down_is_told_kindly_and_the_bot_stays_up(world):
    world.generator.enqueue_error(GeneratorUnavailable("nobody home"))
    await world.ask(world.alice)
    told = world.channel.last_message.content
    world.generator.enqueue("back again")

    reply = await world.ask(world.alice)

    assert (told, reply.content) == (conversation.UNAVAILABLE, "back again")


async def test_a_model_that_only_thinks_is_told_apart(world):
    world.generator.enqueue_error(OnlyThoughts())
    await world.ask(world.alice)

    assert world.channel.last_message.content == conversation.ONLY_THOUGHTS


async def test_nothing_fit_to_post_is_told_kindly(world):
    world.generator.enqueue("   ", "https://discord.gg/join-us")

    reply = await world.ask(world.alice)

    assert reply.content == conversation.SPEECHLESS


async def test_a_conversation_that_is_full_declines_and_answers_the_others_in_order(settings, with_bot):
    async with opened(with_bot(queue_per_channel=1)) as world:
        world.generator.gate = asyncio.Event()
        world.generator.enqueue("first")
        world.generator.enqueue("second")
        carol = world.guild.add_member(world.env.create_user("carol"))
        sending = [
            world.env.backend.create_message(world.channel.id, who.id, f"<@{world.bot.me}> hello")
            for who in (world.alice, world.ben, carol)
        ]
        await until(lambda: world.channel.last_message.content == conversation.BUSY)
        world.generator.gate.set()
        await world.env.settle()

        said = [m.content for m in world.channel.history() if m.author.id == world.bot.me]
        assert len(sending) == 3
        assert sorted(said) == sorted([conversation.BUSY, "first", "second"])
        assert said.index("first") < said.index("second")


async def test_a_failing_ranking_still_answers_and_is_marked(world, caplog):
    await world.agree(world.alice)
    world.house.ranker._features = None  # whatever breaks: here the features are gone
    world.generator.enqueue("unranked")

    reply = await world.ask(world.alice)

    assert reply.content == "unranked"
    assert world.bot.responder.n_fallbacks == 1
    assert "ranking failed" in caplog.text


async def test_an_answer_does_not_depend_on_the_typing_indicator(world):
    world.env.inject_error(
        "POST", "/channels/*/typing", status=403, code=50013, message="Missing Permissions"
    )
    world.generator.enqueue("quietly")

    reply = await world.ask(world.alice)

    assert reply.content == "quietly"


async def test_a_channel_the_bot_may_not_write_in_does_no_harm(world, caplog):
    world.env.inject_error(
        "POST", "/channels/*/messages", status=403, code=50013, message="Missing Permissions"
    )

    await world.alice.send(world.channel, f"<@{world.bot.me}> hello")
    world.generator.enqueue("still here")
    reply = await world.ask(world.alice)

    assert "could not be posted" in caplog.text
    assert reply.content == "still here"


async def test_a_prompt_that_is_gone_is_answered_in_the_channel(world):
    world.env.inject_error(
        "POST", "/channels/*/messages", status=400, code=50035, message="Invalid Form Body: unknown message"
    )
    world.generator.enqueue("to nobody in particular")

    reply = await world.ask(world.alice)

    assert (reply.content, reply.reference) == ("to nobody in particular", None)


@pytest.mark.parametrize("content", ["🏳️‍🌈" * 100, "\u202eevil", "```" * 600, "\x00\x07", "a\n" * 900])
async def test_odd_input_is_answered(world, content):
    reply = await world.ask(world.alice, content)

    assert reply.author.id == world.bot.me


async def test_no_text_reaches_the_log(world, caplog):
    caplog.set_level("DEBUG")
    world.generator.enqueue("mysecretanswer")

    await world.ask(world.alice, "mysecretquestion")

    ours = [
        r.getMessage()
        for r in caplog.records
        if r.name.split(".")[0] in ("bot", "personalization", "storage")
    ]
    assert "mysecret" not in json.dumps(ours)
