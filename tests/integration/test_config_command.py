"""``/config``: managers change their server's settings with immediate effect; others are refused."""

from __future__ import annotations

from dataclasses import replace

import discord

from bot.cogs.managers import config
from bot.command_tree import NOT_HERE
from bot.ui.server_settings_text import NOTHING_SET, OWN
from storage.database.peers import News
from storage.records import Who
from storage.servers.stored_settings import GuildRecord
from tests.integration.conftest import World, opened

KEEPER = "You are a very old lighthouse keeper."
DEFAULTS = [
    NOTHING_SET,
    "**Persona:** You are Simpatico, a helpful and friendly assistant.",
    "**Model:** SmolLM2-135M-Instruct",
    "**I answer every message in:** no channel",
    "**Reactions under my replies:** 👍, 👎",
    "**Meaning of this server's own emoji:** learnt from reactions",
    "**I answer:** everybody, everywhere",
    "**Each member, a day:** any number of messages, any number of tokens",
    "**All members together, a day:** any number of messages, any number of tokens",
]


async def boss_of(world: World):
    """Add a manager to the server."""
    role = world.guild.create_role("boss", permissions=discord.Permissions(manage_guild=True))
    return world.guild.add_member(world.env.create_user("boss"), roles=[role])


async def test_a_persona_holds_in_its_server_from_the_next_message_on(world):
    boss = await boss_of(world)
    elsewhere = world.env.create_guild("Elsewhere")
    other = elsewhere.create_text_channel("general")
    carol = elsewhere.add_member(world.env.create_user("carol"))

    told = await boss.slash(world.channel, "config set persona", text=KEEPER)
    world.generator.enqueue(f"I know: {KEEPER}", "Ahoy!")
    reply = await world.ask(world.alice)
    await carol.send(other, f"<@{world.bot.me}> hello")

    assert (told.response.content, told.response.ephemeral) == (config.DONE, True)
    assert [context.persona for context in world.generator.contexts] == [KEEPER, None]
    assert reply.content == "Ahoy!", "a candidate that reveals the persona is not posted"


async def test_show_and_reset_tell_and_take_back_what_was_set(world):
    boss = await boss_of(world)
    role = world.guild.create_role("noisy")
    category = world.guild.create_category("quiet")
    party = world.guild.create_emoji("party")
    for name, options in (
        ("set persona", {"text": KEEPER}),
        ("set reactions", {"emoji": f"🎉 <:party:{party.id}> 🎉"}),
        ("set emoji", {"emoji": f"<:party:{party.id}>", "means": "nothing"}),
        ("set access", {"rule": "deny", "member": world.ben, "role": role, "channel": category}),
        ("set limit", {"per": "member", "messages": 20}),
        ("set limit", {"per": "role", "messages": 50, "tokens": 9, "role": role}),
    ):
        told = await boss.slash(world.channel, f"config {name}", **options)
        assert told.response.content in (config.DONE, config.DUE)

    shown = await boss.slash(world.channel, "config show")
    kept = await world.house.store.guild_settings.of(world.guild.id)
    await boss.slash(world.channel, "config reset", what="access")
    without_access = await boss.slash(world.channel, "config show")
    await boss.slash(world.channel, "config reset", what="everything")
    empty = await boss.slash(world.channel, "config show")

    denied = (
        f"{OWN}**I do not answer:** members: 1 (I keep no list of names), <@&{role.id}>, <#{category.id}>"
    )
    assert shown.response.content.splitlines()[1:] == [
        f"{OWN}**Persona:** {KEEPER}",
        "**Model:** SmolLM2-135M-Instruct",
        "**I answer every message in:** no channel",
        f"{OWN}**Reactions under my replies:** 🎉, <:party:{party.id}>",
        f"{OWN}**Means nothing:** <:emoji:{party.id}>",
        denied,
        f"{OWN}**Each member, a day:** 20 messages, any number of tokens",
        "**All members together, a day:** any number of messages, any number of tokens",
        f"{OWN}**Members with** <@&{role.id}>**, a day:** 50 messages, any number of tokens",
    ]
    assert str(world.ben.id) not in str(kept)
    assert denied not in without_access.response.content
    assert without_access.response.content.count(OWN) == shown.response.content.count(OWN) - 1
    assert empty.response.content.splitlines()[1:] == DEFAULTS
    assert await world.house.store.guild_settings.of(world.guild.id) == GuildRecord()


async def test_what_cannot_be_is_refused_and_changes_nothing(world):
    boss = await boss_of(world)
    role = world.guild.create_role("noisy")
    refused = [
        ("set model", {"name": "gpt-7"}, config.ONE_MODEL.format(model="SmolLM2-135M-Instruct")),
        ("set reactions", {"emoji": "no emoji here"}, config.NOT_AN_EMOJI.format(most=5)),
        ("set reactions", {"emoji": "1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣"}, config.NOT_AN_EMOJI.format(most=5)),
        ("set reactions", {"emoji": "<:foreign:123>"}, config.NOT_AN_EMOJI.format(most=5)),
        ("set emoji", {"emoji": "👍", "means": "dislike"}, config.NOT_YOUR_EMOJI),
        ("set emoji", {"emoji": "<:foreign:123>", "means": "like"}, config.NOT_YOUR_EMOJI),
        ("set access", {"rule": "deny"}, config.NOBODY_NAMED),
        ("set limit", {"per": "role", "messages": 1}, config.NO_ROLE),
        ("set limit", {"per": "server", "messages": 1, "role": role}, config.BY_ITSELF),
        ("set chat-channel", {"channel": world.channel, "answer_all": True}, config.CANNOT_READ),
    ]

    for name, options, words in refused:
        told = await boss.slash(world.channel, f"config {name}", **options)
        assert (told.response.content, told.response.ephemeral) == (words, True)
    assert await world.house.store.guild_settings.of(world.guild.id) == GuildRecord()


async def test_a_server_chooses_among_the_models_that_are_offered(settings):
    offered = replace(settings.generator, kind="openai", model="small", models=("large", "vast"))
    async with opened(replace(settings, generator=offered)) as world:
        boss = await boss_of(world)

        choices = await boss.autocomplete(world.channel, "config set model", "name", "a")
        told = await boss.slash(world.channel, "config set model", name="large")
        none = await boss.slash(world.channel, "config set model", name="gpt-7")
        await world.ask(world.alice)
        world.bot.servers.use_settings(settings)  # as after a reload that removes the model
        await world.ask(world.alice)

        assert [choice["value"] for choice in choices] == ["small", "large", "vast"]
        assert told.response.content == config.DONE
        assert none.response.content == config.NO_SUCH_MODEL.format(models="small, large, vast")
        assert [context.model for context in world.generator.contexts] == ["large", None]


async def test_chat_channels_of_a_server_take_the_place_of_the_configured_ones(settings, with_bot):
    async with opened(with_bot(message_content=True)) as world:
        boss = await boss_of(world)
        world.bot.chat_channels.add(world.channel.id)
        second = world.guild.create_text_channel("second")
        await boss.slash(world.channel, "config set chat-channel", channel=second, answer_all=True)
        await boss.slash(world.channel, "config set chat-channel", channel=world.channel, answer_all=False)

        await world.alice.send(second, "no mention")
        await world.alice.send(world.channel, "among us")

        assert second.last_message.author.id == world.bot.me
        assert world.channel.last_message.content == "among us"


async def test_denied_members_and_threads_of_denied_categories_are_passed_over_in_silence(world):
    boss = await boss_of(world)
    category = world.guild.create_category("quiet")
    inside = world.guild.create_text_channel("inside", category=category)
    await boss.slash(world.channel, "config set access", rule="deny", member=world.ben)
    await boss.slash(world.channel, "config set access", rule="deny", channel=category)

    denied = await world.ask(world.ben, "hello?")
    await world.alice.send(inside, f"<@{world.bot.me}> hello?")
    status = await world.ben.slash(world.channel, "status")
    limits = await world.ben.slash(world.channel, "limits")
    privacy = await world.ben.slash(world.channel, "privacy")
    answered = await world.ask(world.alice, "and me?")
    heard = world.generator.contexts[-1]
    await boss.slash(world.channel, "config set access", rule="neither", member=world.ben)

    assert denied.author.id == world.ben.id
    assert inside.last_message.author.id == world.alice.id
    assert (status.response.content, status.response.ephemeral) == (NOT_HERE, True)
    assert "not allowed to answer you" in limits.response.content
    assert "What I never keep" in privacy.response.content
    assert answered.author.id == world.bot.me
    assert heard.turns == (), "the model gets no message of a denied member"
    assert (await world.ask(world.ben, "again?")).author.id == world.bot.me


async def test_an_emoji_that_a_server_explains_makes_its_members_due(world):
    boss = await boss_of(world)
    party = world.guild.create_emoji("party")
    await world.agree(world.alice)
    await world.alice.react(await world.ask(world.alice), f"party:{party.id}")
    await world.bot.inbox.wait_idle()
    await world.house.trainer.run_round()
    store, member_id = world.house.store, world.house.store.member_id(Who(world.guild.id, world.alice.id))
    before = await store.learning.head_of(member_id)

    await boss.slash(world.channel, "config set emoji", emoji=f"<:party:{party.id}>", means="like")
    due = [
        changed.member_id for changed in await store.learning.changed_after(await store.learning.cursor(), 10)
    ]
    await world.house.trainer.run_round()
    after = await store.learning.head_of(member_id)

    assert before is None
    assert due == [member_id]
    assert after is not None and after.n_labels == 1


async def test_a_change_in_another_process_holds_here(world):
    await world.ask(world.alice)
    store = world.house.store
    await store.guild_settings.change(world.guild.id, lambda _: GuildRecord({"persona": KEEPER}))

    world.bot.servers.hear(News.SETTINGS)
    await world.ask(world.alice)

    assert [context.persona for context in world.generator.contexts] == [None, KEEPER]


async def test_while_the_store_does_not_answer_the_last_known_settings_hold(world, monkeypatch):
    boss = await boss_of(world)
    await boss.slash(world.channel, "config set access", rule="deny", member=world.ben)
    await world.ask(world.ben, "hello?")

    async def damaged(_guild_id):
        return GuildRecord({"persona": 5})

    monkeypatch.setattr(world.house.store.guild_settings, "of", damaged)
    world.bot.servers.drop_all()

    assert (await world.ask(world.ben, "and now?")).author.id == world.ben.id


async def test_who_may_not_manage_the_server_is_refused_at_use(world):
    await world.alice.slash(world.channel, "privacy")
    for command in world.bot.tree.walk_commands():
        if command.qualified_name == "config":
            assert command.default_permissions == discord.Permissions(manage_guild=True)
            assert command.guild_only
    (registered,) = [one for one in await world.bot.tree.fetch_commands() if one.name == "config"]
    world.guild.set_command_permissions(registered, {world.alice: True})

    refused = await world.alice.slash(world.channel, "config set persona", text=KEEPER)

    assert refused.response.content == "You may not use this command here."
    assert await world.house.store.guild_settings.of(world.guild.id) == GuildRecord()
