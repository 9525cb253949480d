"""P49: a message that speaks of self-harm gets help and teaches nothing.

Members write such messages to the real bot in every way there is: mention, direct message, reply, chat
channel, several quick messages, ``/compare``, "Another answer", a changed message, own words in forms; before
and after they agreed, and with their day used up. Drafts are on. Each time they get help that pings nobody.
The language model is not called, nothing is stored, their limits stay, no log names a word, and no later
prompt holds the message.

Control: where no distress is recognised, the same check finds that the model was called and a reply stored.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from bot.cogs.chat import helping
from bot.distress import answers
from bot.messages import posting
from bot.messages.posting import PromptGone
from bot.settings import LimitSettings
from storage.records import Who
from tests.integration.conftest import World, opened
from tests.integration.test_limits import say, texts_waiting
from tests.integration.test_panel import input_id, panel_of, select_id
from tests.rig.waiting import until

pytestmark = pytest.mark.promise("P49")

WORDS = "zzmarker, I want to kill myself"
HELP = "findahelpline.com"


@pytest.fixture
async def here(settings, with_bot):
    """A world with the message-content intent, drafts, and three messages a day for each member."""
    own = replace(
        with_bot(message_content=True),
        limits=LimitSettings(member_messages=3),
        generator=replace(settings.generator, draft_tokens=8),
    )
    async with opened(own) as world:
        yield world


def id_of(message) -> int:
    return message.id


def of_bot(world: World, message) -> bool:
    return message.author.id == world.bot.me


async def stored(world: World, member) -> tuple[int, int]:
    """Return the number of replies and of choices that are stored for a member."""
    ((_, exported),) = await world.house.store.privacy.export(Who(world.guild.id, member.id)) or [("", {})]
    return len(exported.get("replies", ())), len(exported.get("preferences", ()))


async def written_everywhere(world: World, member) -> list[str]:
    """Let a member write of self-harm wherever a message can be written, and return the answers."""
    said = [(await world.ask(member, WORDS)).content]
    await member.send_dm(WORDS)
    said.append(member.user.dm_channel.last_message.content)
    await member.send(world.channel, WORDS, reply_to=world.channel.last_message)
    said.append(world.channel.last_message.content)
    quiet = world.guild.create_text_channel(f"quiet-{member.id}")
    world.bot.chat_channels.add(quiet.id)
    await member.send(quiet, WORDS)
    said.append(quiet.last_message.content)
    compared = await member.slash(world.channel, "compare", message=WORDS)
    return [*said, compared.response.content]


async def harm(world: World, member, caplog) -> list[str]:
    """Return what went wrong when a member wrote of self-harm everywhere."""
    who, n_before = Who(world.guild.id, member.id), len(world.generator.contexts)
    before = await stored(world, member)
    limits = [LimitSettings(member_messages=3)]
    left = world.bot.limits.of_member(who, limits, ()).messages
    with caplog.at_level(logging.DEBUG):
        said = await written_everywhere(world, member)
    wrong = [f"no help: {text[:40]}" for text in said if HELP not in text]
    wrong += [f"a mention: {text}" for text in said if "<@" in text]
    if len(world.generator.contexts) != n_before:
        wrong.append("the language model was called")
    if await stored(world, member) != before:
        wrong.append("something was stored")
    if world.bot.limits.of_member(who, limits, ()).messages != left:
        wrong.append("the day was spent")
    if "zzmarker" in caplog.text:
        wrong.append("a word was logged")
    return wrong


@pytest.mark.parametrize("agreed", [False, True])
async def test_help_is_all_that_happens_wherever_it_is_written(here, caplog, agreed):
    if agreed:
        await here.agree(here.alice)

    assert await harm(here, here.alice, caplog) == []


async def test_a_member_whose_day_is_used_up_gets_help(here, caplog):
    for _ in range(4):
        await here.ask(here.alice, "hello")

    assert await harm(here, here.alice, caplog) == []


async def test_no_later_prompt_holds_the_message(world):
    await world.ask(world.alice, WORDS)
    await world.ask(world.alice, "thank you, tell me something nice")

    assert len(world.generator.contexts) == 1
    assert "zzmarker" not in repr(world.generator.contexts)
    assert HELP not in repr(world.generator.contexts)


async def test_quick_messages_that_say_it_together_get_help(world):
    world.generator.gate = asyncio.Event()
    say(world, world.ben, "what is the weather like?")
    await until(lambda: world.generator.contexts)
    say(world, world.alice, "I really want to")
    await until(lambda: texts_waiting(world).endswith("want to"))
    say(world, world.alice, "die")
    await until(lambda: texts_waiting(world).endswith("die"))
    world.generator.gate.set()
    await world.env.settle()

    said = [m.content for m in world.channel.history() if m.author.id == world.bot.me]
    assert sum(HELP in text for text in said) == 1
    assert [context.message for context in world.generator.contexts] == ["what is the weather like?"]
    await world.ask(world.alice, "tell me something nice")
    assert all("die" not in turn.text for turn in world.generator.contexts[-1].turns)


async def test_a_file_that_says_it_gets_help_although_the_day_is_used_up(here):
    for _ in range(3):
        await here.ask(here.alice, "hello")
    await here.alice.send(here.channel, f"<@{here.bot.me}>", attachments=[("note.txt", WORDS.encode())])

    assert HELP in here.channel.last_message.content


async def test_help_is_posted_where_a_proxy_deleted_the_message(world, monkeypatch):
    async def gone(*_args: object) -> None:
        raise PromptGone

    with monkeypatch.context() as patch:
        patch.setattr(posting, "_reply_or_send", gone)
        await world.alice.send(world.channel, f"<@{world.bot.me}> {WORDS}")

    note = world.channel.last_message
    assert HELP in note.content and note.reference is None


async def test_help_that_could_not_be_posted_is_given_whole_the_next_time(world, monkeypatch):
    async def nowhere(*_args: object, **_more: object) -> bool:
        return False

    with monkeypatch.context() as patch:
        patch.setattr(helping, "say", nowhere)
        await world.alice.send(world.channel, f"<@{world.bot.me}> {WORDS}")
    await world.alice.send(world.channel, f"<@{world.bot.me}> {WORDS}")

    assert HELP in world.channel.last_message.content


async def test_a_changed_message_gets_help_instead_of_another_answer(world):
    asked = await world.alice.send(world.channel, f"<@{world.bot.me}> hello")
    reply, n_before = world.channel.last_message, len(world.generator.contexts)
    await world.alice.edit(asked, f"<@{world.bot.me}> {WORDS}")

    shown = await world.alice.context_menu(world.channel, "Another answer", reply)

    assert HELP in shown.response.content
    assert len(world.generator.contexts) == n_before


async def test_another_answer_to_help_is_help(world):
    reply = await world.ask(world.alice, WORDS)

    own = await world.alice.context_menu(world.channel, "Another answer", reply)
    other = await world.ben.context_menu(world.channel, "Another answer", reply)

    assert HELP in own.response.content
    assert HELP not in other.response.content


async def test_the_long_answer_is_not_repeated_at_every_message(world):
    for _ in range(20):
        await world.ask(world.alice, WORDS)
    await world.ask(world.ben, WORDS)

    whole, again, *more = (m.content for m in sorted(world.channel.history(), key=id_of) if of_bot(world, m))
    assert len(again) < len(whole)
    assert more[-1] == whole
    assert len(more) <= 2, "at most one further short answer, where a minute begins"
    assert all(HELP in text for text in (whole, again))


async def test_own_words_in_a_form_are_not_stored_and_get_help(world):
    await world.agree(world.alice)
    await world.alice.react(await world.ask(world.alice), "👎")
    page = await world.alice.slash(world.channel, "style")
    form = await world.alice.click(page.response, label="In my own words")
    wish = await world.alice.submit_modal(form, {"words": WORDS})
    form = await world.alice.click(await panel_of(world, world.alice), label="Tell me what was wrong")
    fields = {select_id(form.modal): ["tone"], input_id(form.modal): WORDS}
    remark = await world.alice.submit_modal(form, fields)

    ((_, exported),) = await world.house.store.privacy.export(Who(world.guild.id, world.alice.id))
    assert "zzmarker" not in repr(exported)
    assert HELP in wish.followups[-1].content
    assert HELP in remark.response.content


async def test_control_where_nothing_is_recognised_the_model_is_called(here, caplog, monkeypatch):
    monkeypatch.setattr(answers, "distress_in", lambda text: None)
    await here.agree(here.alice)

    found = await harm(here, here.alice, caplog)

    assert {"the language model was called", "something was stored", "the day was spent"} <= set(found)
    assert any(line.startswith("no help") for line in found)
