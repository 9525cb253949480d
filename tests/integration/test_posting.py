"""Posting where Discord rewrites, refuses or delays: the reply is still posted, recorded and seeded."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
from simcord.backend.errors import BackendError

from bot.messages import posting
from bot.messages.conversation import BLOCKED
from bot.ui.errors import EXPIRED
from personalization.errors import RankingFailed
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import opened, shapeless

CANDIDATES = ("First words.", "Second words, a bit longer!", "Third?")
EMOJI = "nice <:blob:123456789012345678> day <a:dance:223456789012345678>!"
MESSAGES = "/channels/*/messages"


@pytest.fixture
def settings(settings):
    """Styles without a shape, so that long texts stay long."""
    return shapeless(settings)


def replies(world) -> list[str]:
    messages = sorted(world.channel.history(), key=lambda message: message.id)
    return [message.content for message in messages if message.author.id == world.bot.me]


@contextmanager
def rewriting(world, rewrite):
    """Let Discord change what the bot posts."""
    backend = world.env.backend
    before = backend.prepare_message

    def create(channel_id, author_id, content="", **parts):
        if author_id == world.bot.me:
            content = rewrite(content)
        return before(channel_id, author_id, content, **parts)

    backend.prepare_message = create
    yield
    backend.prepare_message = before


REWRITES = {
    "foreign emoji": (EMOJI, lambda text: re.sub(r"<a?(:\w+:)\d+>", r"\1", text)),
    "white space": ("a\n\n\n b \u3000c", lambda text: " ".join(text.split())),
    "invisible signs": ("a\u200bb\u2060c\ufeff", lambda text: re.sub("[\u200b\u2060\ufeff]", "", text)),
    "control signs": ("a\x07b", lambda text: text.replace("\x07", "")),
    "composed letters": ("cafe\u0301", lambda text: text.replace("e\u0301", "\u00e9")),
}


async def test_a_reply_that_discord_rewrites_is_recorded_and_seeded(world, caplog):
    await world.agree(world.alice)
    for kind, (text, rewrite) in REWRITES.items():
        world.generator.enqueue(text)
        with rewriting(world, rewrite):
            reply = await world.ask(world.alice)

        assert reply.content == rewrite(text), kind
        assert await world.house.store.replies.of_message(reply.id) is not None, kind
    assert "had a reply already" not in caplog.text


async def test_all_chunks_of_a_rewritten_reply_are_posted(world):
    await world.agree(world.alice)
    world.generator.enqueue(f"{EMOJI} " + " ".join(f"word{n}" for n in range(300)) + f" {EMOJI}")
    with rewriting(world, REWRITES["foreign emoji"][1]):
        await world.ask(world.alice)

    chunks = replies(world)[-2:]
    assert chunks[0].startswith("nice :blob: day :dance:!") and chunks[1].endswith("nice :blob: day :dance:!")
    assert await world.house.store.replies.of_message(world.channel.last_message.id) is not None


async def test_control_compared_letter_by_letter_a_rewritten_reply_is_lost(world, monkeypatch):
    monkeypatch.setattr(posting, "_as_shown", lambda text: text.split())
    await world.agree(world.alice)
    world.generator.enqueue(EMOJI)
    with rewriting(world, REWRITES["foreign emoji"][1]):
        reply = await world.ask(world.alice)

    assert await world.house.store.replies.of_message(reply.id) is None


async def test_control_another_text_is_another_reply(world, caplog):
    world.generator.enqueue("one answer")
    with rewriting(world, lambda text: "another answer"):
        await world.ask(world.alice)

    assert "had a reply already" in caplog.text


@pytest.mark.parametrize("status", [400, 403])
async def test_without_the_right_to_read_history_the_reply_is_a_plain_message(world, status):
    world.env.inject_error("POST", MESSAGES, status=status, code=160002, message="Cannot reply")
    world.generator.enqueue("here I am")
    reply = await world.ask(world.alice)

    assert (reply.content, reply.reference) == ("here I am", None)


async def test_what_automod_refuses_gives_way_to_the_next_candidate(settings):
    async with opened(settings, generator=ScriptedGenerator(CANDIDATES)) as world:
        await world.agree(world.alice)
        usual = await world.ask(world.alice)
        for code in posting.AUTOMOD:
            world.env.inject_error("POST", MESSAGES, status=400, code=code, message="blocked")
            reply = await world.ask(world.alice, "hello again")

            assert reply.content in CANDIDATES and reply.content != usual.content
            assert await world.house.store.replies.of_message(reply.id) is not None
        assert len(world.generator.contexts) == 4  # nothing is written anew


async def test_a_later_chunk_that_automod_refuses_takes_the_others_with_it(world, monkeypatch):
    await world.agree(world.alice)
    long = " ".join(f"word{n}" for n in range(300))
    world.generator.enqueue(f"{long} badword", "Short and clean.")
    prepare = world.env.backend.prepare_message

    def refusing(channel_id, author_id, content="", **parts):
        if "badword" in content:
            raise BackendError(400, 200000, "Message was blocked by automatic moderation")
        return prepare(channel_id, author_id, content, **parts)

    monkeypatch.setattr(world.env.backend, "prepare_message", refusing)
    monkeypatch.setattr(world.bot.responder._choice._ranker, "rank", _no_ranking)  # the first is posted first
    await world.ask(world.alice)

    assert replies(world) == ["Short and clean."]
    assert await world.house.store.replies.of_message(world.channel.last_message.id) is not None


async def _no_ranking(*_, **__):
    raise RankingFailed("switched off")


async def test_where_automod_refuses_all_a_word_says_so(settings):
    async with opened(settings, generator=ScriptedGenerator(CANDIDATES)) as world:
        world.env.inject_error("POST", MESSAGES, status=400, code=200000, message="blocked", times=3)
        await world.ask(world.alice)

        assert replies(world) == [BLOCKED]


async def test_another_answer_skips_what_automod_refuses(settings):
    async with opened(settings, generator=ScriptedGenerator(CANDIDATES)) as world:
        first = await world.ask(world.alice)
        world.env.inject_error("POST", MESSAGES, status=400, code=200000, message="blocked")
        await world.alice.context_menu(world.channel, "Another answer", first)

        assert len(set(replies(world))) == 2 and set(replies(world)) < set(CANDIDATES)


@pytest.mark.parametrize(("status", "code"), [(429, 0), (429, 20016), (400, 20028)])
async def test_a_reply_waits_where_discord_says_that_it_is_too_early(world, monkeypatch, status, code):
    monkeypatch.setattr(posting, "_WAIT_S", 0.01)
    world.env.inject_error("POST", MESSAGES, status=status, code=code, message="slow down", times=2)
    world.generator.enqueue("in time")
    reply = await world.ask(world.alice)

    assert reply.content == "in time"


async def test_a_longer_wait_than_a_minute_is_not_waited(world, monkeypatch, caplog):
    monkeypatch.setattr(posting, "_WAIT_S", posting.LONGEST_WAIT_S + 1)
    world.env.inject_error("POST", MESSAGES, status=429, code=20016, message="slow mode")
    await world.alice.send(world.channel, f"<@{world.bot.me}> hello")

    assert replies(world) == [] and "could not be posted" in caplog.text


async def test_an_interaction_that_is_over_is_no_error(world, caplog):
    for code in EXPIRED:
        first = await world.ask(world.alice)
        world.env.inject_error("*", "/webhooks/*", status=404, code=code, message="gone", times=3)
        await world.alice.context_menu(world.channel, "Another answer", first)
        await world.alice.slash(world.channel, "privacy")
        world.env.backend.faults.clear()

    assert len(replies(world)) == 2 * len(EXPIRED)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
