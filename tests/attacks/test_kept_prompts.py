"""Prompts that the model keeps for the next message: every way to leave drops them, whoever leaves."""

from __future__ import annotations

import pytest

from bot.generation import Context, Turn
from storage.records import Who
from tests.integration.conftest import settings, world
from tests.unit.bot.generators.tiny_llama import STYLES, generator

__all__ = ["settings", "world"]


async def with_kept_prompt(world):
    """A real generator in place of the scripted one, which has read a prompt with the words of Alice."""
    gen = generator(max_new_tokens=8)
    world.bot.memory.register("prompts read by the model", gen)
    await gen.generate(Context("and now?", (Turn("user", "my secret is a canary"),)), STYLES)
    return gen


def holds_words(gen) -> bool:
    """Return whether the words can be read back from what the generator keeps."""
    kept = [prompt for prompt, _ in gen._shared.prefixes._kept]
    return any("canary" in gen._tokenizer.decode(prompt) for prompt in kept)


WAYS = {
    "forget": lambda world: world.bot.privacy.forget(world.alice.id),
    "withdraw": lambda world: world.bot.privacy.refuse(Who(world.guild.id, world.alice.id)),
    "another member leaves": lambda world: world.bot.privacy.forget(world.ben.id),
}


@pytest.mark.parametrize("way", WAYS)
async def test_after_someone_leaves_no_prompt_is_kept(world, way):
    gen = await with_kept_prompt(world)
    before = holds_words(gen)

    await WAYS[way](world)

    assert (before, holds_words(gen)) == (True, False)
    await gen.close()


async def test_news_from_another_process_drop_what_is_kept(world):
    gen = await with_kept_prompt(world)

    world.bot.memory.forget_everyone()

    assert not holds_words(gen)
    await gen.close()


async def test_control_a_generator_that_is_not_registered_keeps_the_words(world):
    gen = await with_kept_prompt(world)
    world.bot.memory.register("prompts read by the model", world.generator)

    await world.bot.privacy.forget(world.alice.id)

    assert holds_words(gen)
    await gen.close()


async def test_the_running_bot_tells_its_generator(world):
    await world.bot.privacy.forget(world.alice.id)

    assert world.generator.n_forgotten == 1
