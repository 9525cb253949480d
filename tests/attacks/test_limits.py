"""A member looks for a way to the language model that costs nothing: each generation is spent, by every way.

`/compare` once cost no tokens, the continuation of a draft neither, and both could be asked for all at once.
"""

from __future__ import annotations

import ast
import asyncio
import random
from dataclasses import replace
from pathlib import Path

import pytest

import bot
from bot.generation import Context, GeneratorUnavailable
from bot.generators.prompt import estimate_tokens
from bot.messages.conversation import BUSY, EMPTY
from bot.replies.budget import Budget
from bot.replies.decision import Prompt
from bot.replies.fair_turns import MOST_WAITING, TooManyWaiting
from bot.servers.daily_limits import UsedUp
from bot.settings import DailyLimit, LimitSettings
from storage.records import Who
from tests.fakes import ScriptedGenerator
from tests.integration.conftest import opened
from tests.rig.size import sized
from tests.rig.waiting import until

PLENTY = LimitSettings(member_messages=10**6, member_tokens=10**8)
N_ROUNDS = sized(ci=3, full=40)


class CountingGenerator(ScriptedGenerator):
    """Generator that counts the generations that wrote something, and the tokens it read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.n_written = self.n_tokens = 0

    async def generate(self, context, styles):
        written = await super().generate(context, styles)
        self.n_written += 1
        self.n_tokens += len(styles) * self._read(context) + sum(estimate_tokens(one.text) for one in written)
        return written

    async def continued(self, context, style, begun):
        text = begun
        async for text in super().continued(context, style, begun):
            yield text
        self.n_tokens += self._read(context) + estimate_tokens(text) - estimate_tokens(begun)

    @staticmethod
    def _read(context) -> int:
        return sum(map(estimate_tokens, [context.message, *(turn.text for turn in context.turns)]))


async def by_message(world, last):
    return await world.ask(world.alice, "hello there")


async def by_draft(world, last):
    world.generator.unfinished.append((" More of it.", " And more."))
    return await world.ask(world.alice, "a long one, please")


async def by_comparison(world, last):
    await world.alice.slash(world.channel, "compare", message="what about tea?")
    return last


async def by_comparison_of_a_reply(world, last):
    await world.alice.slash(world.channel, "compare")
    return last


async def by_another_answer(world, last):
    if last is not None:
        await world.alice.context_menu(world.channel, "Another answer", last)
    return last


async def by_a_failure(world, last):
    world.generator.enqueue_error(GeneratorUnavailable("nobody home"))
    await world.ask(world.alice, "are you there?")
    return last


async def by_a_withheld_reply(world, last):
    world.generator.enqueue("", "", "")
    await world.ask(world.alice, "say nothing")
    return last


WAYS = (
    by_message,
    by_draft,
    by_comparison,
    by_comparison_of_a_reply,
    by_another_answer,
    by_a_failure,
    by_a_withheld_reply,
)


async def spent_and_generated(settings) -> tuple[tuple[int, int], tuple[int, int]]:
    """Go every way in a random order; return (messages, tokens) that were spent, and that were generated."""
    rng, last = random.Random(5), None
    async with opened(replace(settings, limits=PLENTY), generator=CountingGenerator()) as world:
        world.bot.streams.every_s = 0.0
        await world.agree(world.alice)
        for _ in range(N_ROUNDS):
            for way in rng.sample(WAYS, len(WAYS)):
                last = await way(world, last)
        left = world.bot.limits.of_member(Who(world.guild.id, world.alice.id), [PLENTY], ())
        spent = PLENTY.member_messages - left.messages, PLENTY.member_tokens - left.tokens
        return spent, (world.generator.n_written, world.generator.n_tokens)


async def test_by_every_way_what_is_spent_is_what_was_generated(settings):
    spent, generated = await spent_and_generated(settings)

    assert spent == generated
    assert spent[0] >= 4 * N_ROUNDS - 1


async def test_control_a_way_that_spends_nothing_shows(settings, monkeypatch):
    monkeypatch.setattr(Budget, "spend_continuation", lambda *_: None)

    spent, generated = await spent_and_generated(settings)

    assert spent != generated


def test_one_module_alone_calls_the_generator():
    calls = set()
    for path in Path(bot.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if (
                is_call
                and node.func.attr in ("generate", "continued")
                and not {"generators", "plugins", "doctor"} & {*path.parts}
            ):
                calls.add(path.name)

    assert calls == {"candidate_source.py"}


async def test_what_is_asked_for_at_once_is_spent_one_by_one(settings):
    async with opened(replace(settings, limits=LimitSettings(member_messages=2))) as world:
        prompt = Prompt(Who(world.guild.id, world.alice.id), Context("what about tea?"))
        decided = await asyncio.gather(
            *(world.bot.responder.decide(prompt) for _ in range(6)), return_exceptions=True
        )

        assert sum(isinstance(one, UsedUp) for one in decided) == 4
        assert len(world.generator.contexts) == 2


async def test_a_used_up_day_is_told_by_every_command(settings):
    async with opened(replace(settings, limits=LimitSettings(member_messages=1))) as world:
        await world.agree(world.alice)
        reply = await world.ask(world.alice)
        compared = await world.alice.slash(world.channel, "compare", message="tea?")
        again = await world.alice.context_menu(world.channel, "Another answer", reply)

        for said in (compared.response.content, again.response.content):
            assert said.startswith("You have reached your limit for today (messages: 1).")
        assert len(world.generator.contexts) == 1


async def test_a_member_in_many_channels_waits_in_a_few_and_is_told_once_each(world):
    channels = [world.guild.create_text_channel(f"room-{number}") for number in range(30)]
    world.generator.gate = asyncio.Event()
    for channel in channels:
        world.env.backend.create_message(channel.id, world.alice.id, f"<@{world.bot.me}> hello")
    await until(lambda: sum(notes(world, channel) == [BUSY] for channel in channels) == 22)
    world.env.backend.create_message(channels[-1].id, world.alice.id, f"<@{world.bot.me}> hello?")
    world.env.backend.create_message(world.channel.id, world.ben.id, f"<@{world.bot.me}> and I?")
    world.generator.gate.set()
    await world.env.settle()

    assert len(world.generator.contexts) == 8 + 1
    assert sum(notes(world, channel) == [BUSY] for channel in channels) == 22
    assert notes(world, world.channel)[0] in world.generator.default


async def test_a_flood_of_messages_without_words_gets_one_note(world):
    for _ in range(20):
        world.env.backend.create_message(world.channel.id, world.alice.id, f"<@{world.bot.me}>")
    world.env.backend.create_message(world.channel.id, world.ben.id, f"<@{world.bot.me}>")
    await world.env.settle()

    assert notes(world, world.channel) == [EMPTY, EMPTY]  # one to each of the two


async def test_turns_that_no_queue_bounds_are_bounded_too(world):
    world.generator.gate = asyncio.Event()
    who = Who(world.guild.id, world.alice.id)
    asked = [
        asyncio.create_task(world.bot.comparisons.of_message(Prompt(who, Context(f"tea {n}?"))))
        for n in range(2 + MOST_WAITING + 5)
    ]
    await until(lambda: sum(task.done() for task in asked) == 5)
    await world.agree(world.alice)
    shown = await world.alice.slash(world.channel, "compare", message="tea?")
    world.generator.gate.set()
    ended = await asyncio.gather(*asked, return_exceptions=True)

    assert sum(isinstance(one, TooManyWaiting) for one in ended) == 5
    assert shown.response.content == BUSY


def notes(world, channel) -> list[str]:
    return [message.content for message in channel.history() if message.author.id == world.bot.me]


@pytest.mark.parametrize("role_limit, n_answered", [(3, 3), (0, 5)])
async def test_a_role_widens_the_limit_where_candidates_are_written(settings, role_limit, n_answered):
    limits = LimitSettings(member_messages=1, roles={"7": DailyLimit(role_limit, 0)})
    async with opened(replace(settings, limits=limits)) as world:
        who = Who(world.guild.id, world.alice.id)
        prompt = Prompt(who, Context("hello"), roles={7})
        decided = [await decided_or_not(world, prompt) for _ in range(5)]
        tight = await decided_or_not(world, Prompt(who, Context("hello")))

        assert (decided.count(True), tight) == (n_answered, False)


async def decided_or_not(world, prompt: Prompt) -> bool:
    try:
        await world.bot.responder.decide(prompt)
    except UsedUp:
        return False
    return True
