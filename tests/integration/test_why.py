"""``/why`` and its message menu: explain a reply to its asker only, without data of other members."""

from __future__ import annotations

from bot.cogs.members import insight
from storage.records import Who
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import opened

CANDIDATES = [
    "No.",
    "Well, there is a lot to say about that, and I would love to say all of it! 🎉",
    "Yes?",
    "Hm…",
]


async def why(world, member) -> str:
    return (await member.slash(world.channel, "why")).response.content


async def test_the_asker_is_told_why_and_on_what_it_rests(settings):
    async with opened(settings, generator=ScriptedGenerator(CANDIDATES)) as world:
        await world.agree(world.alice)
        for _ in range(3):
            await world.alice.react(await world.ask(world.alice), "👍")
        before = await why(world, world.alice)
        await world.house.trainer.run_round()
        await world.ask(world.alice)

        after = await why(world, world.alice)

    assert before.startswith("I wrote 4 different answers and picked this one, in the *")
    assert "I do not know your taste yet" in before
    assert "My picture of your taste is based on 3 of your reactions, ratings and choices" in after


async def test_the_message_menu_tells_the_asker_and_nobody_else(world):
    await world.agree(world.alice)
    await world.agree(world.ben)
    reply = await world.ask(world.alice)

    hers = await world.alice.context_menu(world.channel, "Why this reply?", reply)
    his = await world.ben.context_menu(world.channel, "Why this reply?", reply)

    assert hers.response.content.startswith("I wrote")
    assert his.response.content == insight.NO_REPLY
    assert hers.response.ephemeral and his.response.ephemeral


async def test_without_a_stored_reply_there_is_nothing_to_tell(world):
    await world.ask(world.alice)

    assert await why(world, world.alice) == insight.NO_REPLY


async def test_a_reason_is_of_the_asker_alone_also_in_the_store(world):
    await world.agree(world.alice)
    reply_id = await world.house.store.replies.of_message((await world.ask(world.alice)).id)
    store, guild = world.house.store, world.guild.id

    mine = await store.replies.reason(Who(guild, world.alice.id), reply_id)
    his = await store.replies.reason(Who(guild, world.ben.id), reply_id)

    assert mine is not None and mine.reason is not None
    assert mine.reason.parts == ()  # the prior alone chose: its parts are other members'
    assert his is None
