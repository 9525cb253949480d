"""``/faq``: managers' answers become candidates in their own server only."""

from __future__ import annotations

import discord
import numpy as np
import pytest
from sqlalchemy import select

from bot.cogs.managers import faq
from bot.generation import GeneratorUnavailable
from storage.database.schema import replies
from storage.errors import DatabaseFailed
from storage.records import Who
from storage.servers.faq import FaqEntry
from tests.integration.conftest import World

QUESTION, ANSWER = "When is the library open?", "On Mondays, from nine to five."


@pytest.fixture
def boss(world):
    role = world.guild.create_role("boss", permissions=discord.Permissions(manage_guild=True))
    return world.guild.add_member(world.env.create_user("boss"), roles=[role])


async def add(world: World, boss, question=QUESTION, answer=ANSWER):
    form = await boss.slash(world.channel, "faq add")
    return await boss.submit_modal(form, {"question": question, "answer": answer})


async def test_a_manager_adds_changes_lists_and_removes_entries(world, boss):
    empty = await boss.slash(world.channel, "faq list")
    added = await add(world, boss)
    ((choice),) = await boss.autocomplete(world.channel, "faq edit", "entry", "LIBRARY")
    nothing = await boss.autocomplete(world.channel, "faq edit", "entry", "zoo")
    form = await boss.slash(world.channel, "faq edit", entry=choice["value"])
    changed = await boss.submit_modal(form, {"question": QUESTION, "answer": "Never."})
    listed = await boss.slash(world.channel, "faq list")
    kept = await world.house.store.faq.entries(world.house.store.guild_id(Who(world.guild.id, 0)))
    removed = await boss.slash(world.channel, "faq remove", entry=choice["value"])
    gone = await boss.slash(world.channel, "faq remove", entry=choice["value"])

    assert empty.response.content == faq.NONE_YET
    assert added.response.content == faq.ADDED.format(question=QUESTION)
    assert (choice["name"], nothing) == (QUESTION, [])
    assert changed.response.content == faq.CHANGED.format(question=QUESTION)
    assert list(kept.values()) == [FaqEntry(QUESTION, "Never.")]
    assert listed.response.content == f"**1 entry** of at most 200\n• {QUESTION}"
    assert (removed.response.content, gone.response.content) == (faq.REMOVED, faq.GONE)
    assert all(shown.response.ephemeral for shown in (empty, added, changed, listed, removed))


async def test_nobody_else_may_hand_over_or_see_entries(world, boss):
    await add(world, boss)
    command = world.bot.tree.get_command("faq")
    assert command.default_permissions == discord.Permissions(manage_guild=True)
    command.default_permissions = None  # as an administrator may configure it in Discord
    await world.bot.tree.sync()

    refused = await world.ben.slash(world.channel, "faq list")
    choices = await world.ben.autocomplete(world.channel, "faq remove", "entry", "")

    assert (refused.response.content, choices) == ("You may not use this command here.", [])


async def test_an_answer_joins_the_candidates_and_is_recorded_with_them_but_teaches_nothing(world, boss):
    await add(world, boss)
    await world.agree(world.alice)
    world.generator.enqueue("", "...")  # no candidate of the model is fit to post

    reply = await world.ask(world.alice, QUESTION)
    await world.alice.react(reply, "👍")
    await world.bot.inbox.wait_idle()
    report = await world.house.trainer.run_round()

    assert reply.content == ANSWER
    why = await world.alice.slash(world.channel, "why")
    assert "The managers of this server wrote it" in why.response.content
    row = await world.house.store._reader.run(lambda c: c.execute(select(replies)).mappings().one())
    assert row["feature_id"] == ""
    assert report.n_labels == 0
    page = await world.house.store.outdated.page(world.house.ranker.prior.feature_id, None, 10)
    assert dict(page.texts) == {}


async def test_answers_are_ranked_with_the_others_and_only_where_they_belong(world, boss):
    await add(world, boss)
    elsewhere = world.env.create_guild("Elsewhere").create_text_channel("general")
    knowledge = world.bot.responder.source._knowledge
    store = world.house.store
    here, there = (store.guild_id(Who(guild, 0)) for guild in (world.guild.id, elsewhere.guild.id))

    close = await knowledge.answers(here, QUESTION)
    far = await knowledge.answers(here, "Tell me a joke")
    other = await knowledge.answers(there, QUESTION)
    n_texts = knowledge._encoder.n_texts
    await knowledge.answers(here, QUESTION)

    assert [(one.text, one.style, round(one.fits, 5)) for one in close] == [(ANSWER, "faq", 1.0)]
    assert (far, other) == ([], [])
    assert knowledge._encoder.n_texts == n_texts + 1  # only the message: those of the questions are cached
    direct = await world.alice.send_dm(QUESTION)
    said = [message.content for message in world.env.backend.messages[direct.channel.id].values()]
    assert len(said) == 2 and ANSWER not in said


async def test_the_relevance_of_an_answer_is_at_least_that_of_its_question(world):
    ranker = world.house.ranker
    plain = await ranker.rank(None, QUESTION, ["one", ANSWER])
    known = await ranker.rank(None, QUESTION, ["one", ANSWER], fits=[-1.0, 0.9])

    np.testing.assert_allclose(known.relevance, [plain.relevance[0], 0.9], atol=1e-6)
    assert known.scores[1] > plain.scores[1]
    assert known.prior_scores[1] > plain.prior_scores[1]


async def test_without_a_language_model_a_known_answer_goes_out_and_without_the_store_the_model_answers(
    world, boss, monkeypatch
):
    await add(world, boss)
    world.generator.enqueue_error(GeneratorUnavailable("down"))
    assert (await world.ask(world.ben, QUESTION)).content == ANSWER

    async def fails(_guild):
        raise DatabaseFailed

    monkeypatch.setattr(world.house.store.faq, "versions", fails)
    assert (await world.ask(world.ben, QUESTION)).content in world.generator.default


async def test_a_manager_is_told_what_would_become_of_an_answer(world, boss):
    invite = await add(world, boss, answer="Join discord.gg/abc")
    mention = await add(world, boss, answer="Ask @everyone about it.")

    assert invite.response.content.splitlines()[1] == faq.WITHHELD.format(reason="an invitation to a server")
    assert mention.response.content.splitlines()[1] == faq.TIDIED
