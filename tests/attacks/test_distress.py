"""Messages about self-harm in every language, in floods, and with texts of a host that would ping."""

from __future__ import annotations

from bot.config import parse_settings
from bot.distress.rules import LANGUAGES
from bot.settings import DistressSettings, HelpTexts
from tests.integration.conftest import opened
from tests.rig.distress_sentences import sentences
from tests.rig.size import sized

HELP = "findahelpline.com"


def said_by_bot(world) -> list[str]:
    messages = sorted(world.channel.history(), key=lambda message: message.id)
    return [message.content for message in messages if message.author.id == world.bot.me]


async def test_help_comes_in_the_language_of_the_message(world):
    for language in LANGUAGES:
        true = [one for one in sentences(language, measured=False) if one.kind][: sized(ci=1, full=20)]
        for one in true:
            reply = await world.ask(world.alice, one.text)
            whole, again = (world.bot.responder.help.answer_to(one.found, again=n > 0) for n in (0, 1))
            assert reply.content in (whole, again, f"<@{world.bot.me}> {one.text}")
        assert any(HELP in text for text in said_by_bot(world))
    assert world.generator.contexts == []


async def test_a_flood_gets_few_answers_and_others_are_answered(world):
    for n in range(sized(ci=30, full=500)):
        world.env.backend.create_message(
            world.channel.id, world.alice.id, f"<@{world.bot.me}> {n} i want to die"
        )
    world.env.backend.create_message(world.channel.id, world.ben.id, f"<@{world.bot.me}> hello")
    await world.env.settle()

    said = said_by_bot(world)
    assert sum(HELP in text for text in said) <= 3
    assert any(text in world.generator.default for text in said)


async def test_texts_of_a_host_that_ping_or_break_markdown_ping_nobody(settings):
    texts = HelpTexts(self_harm="@everyone <@1> ``` call", again="@here", lines=("<@&5>",))
    async with opened(settings) as world:
        world.bot.responder.help.use_settings(DistressSettings(texts={"en": texts}))
        await world.ask(world.alice, "i want to die")

    bodies = [one.json for one in world.env.http_requests if one.path.endswith("/messages") and one.json]
    assert bodies
    assert all(body["allowed_mentions"]["parse"] == [] for body in bodies)


async def test_a_host_that_switches_it_off_gets_ordinary_replies(settings):
    off = parse_settings({"distress": {"answer": False}}).distress
    async with opened(settings) as world:
        world.bot.responder.help.use_settings(off)
        reply = await world.ask(world.alice, "i want to die")

    assert reply.content in world.generator.default
