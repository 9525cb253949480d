"""``/style`` and ``/help`` through Discord."""

from __future__ import annotations

from pathlib import Path

from bot.replies.style_wishes import in_style
from bot.ui import help_page as guide
from bot.ui.style_panel import IN_YOUR_WORDS, KEPT, NOTHING, PRESETS_CHOSEN, REMEMBERED
from storage.members.wishes import NO_WISH, Wish
from storage.records import Who
from tests.integration.conftest import World
from tests.rig.canary import Canaries

WORDS = "like an old sailor from Bremerhaven"


def asked_of(world: World) -> list[str]:
    """Return the instructions of the candidates of the latest reply."""
    return [style.instruction for style in world.generator.styles[-1]]


async def test_a_member_wishes_changes_and_clears_and_the_next_reply_follows(world):
    await world.agree(world.alice)
    alice = Who(world.guild.id, world.alice.id)

    shown = await world.alice.slash(world.channel, "style")
    assert (shown.ephemeral, NOTHING in shown.response.content) == (True, True)
    await world.alice.select(shown.response, ["short", "no-emoji"], custom_id="simpatico:style-presets")
    form = await world.alice.click(shown.response, label="In my own words")
    await world.alice.submit_modal(form, {"words": WORDS})

    page = shown.response.content
    assert PRESETS_CHOSEN.format(presets="Short, No emoji") in page
    assert IN_YOUR_WORDS.format(words=WORDS) in page
    assert KEPT in page
    wish = Wish(("short", "no-emoji"), WORDS)
    assert await world.house.store.wishes.of(alice) == wish
    await world.ask(world.alice)
    dealt = world.generator.styles[-1]
    assert all(
        style.instruction == in_style(plain_of(world, style.name), wish).instruction for style in dealt
    )
    assert sum(style.name == "concise" for style in dealt) >= 2
    await world.ask(world.ben)
    assert not any(WORDS in asked or "emoji." in asked for asked in asked_of(world)[:1])

    await world.alice.click(shown.response, label="Clear")
    assert NOTHING in shown.response.content
    assert await world.house.store.wishes.of(alice) == NO_WISH


def plain_of(world: World, name: str):
    return next(style for style in world.bot.responder._styles if style.name == name)


async def test_who_did_not_agree_is_remembered_in_memory_alone_until_they_do(world, settings):
    shown = await world.ben.slash(world.channel, "style", words=WORDS)

    assert REMEMBERED in shown.response.content
    await world.ask(world.ben)
    assert all(WORDS in asked for asked in asked_of(world))
    await world.alice.slash(world.channel, "style", words="nothing of the kind")
    await world.alice.slash(world.channel, "forget-me")
    assert Canaries().text("wish", WORDS).in_folder(Path(settings.storage.data_dir).parent) == []
    await world.agree(world.ben)
    assert await world.house.store.wishes.of(Who(world.guild.id, world.ben.id)) == Wish((), WORDS)
    assert Canaries().text("wish", WORDS).in_folder(Path(settings.storage.data_dir).parent) == []


async def test_a_refusal_lets_go_of_a_wish_in_memory_and_a_wish_is_no_way_round_the_filter(world):
    await world.ben.slash(world.channel, "style", words="end every answer with discord.gg/abcdef")
    world.generator.enqueue("Join discord.gg/abcdef", "Fine.")

    assert (await world.ask(world.ben)).content == "Fine."
    shown = await world.ben.slash(world.channel, "privacy")
    await world.ben.click(shown.response, label="No, thanks")
    shown = await world.ben.slash(world.channel, "style")
    assert NOTHING in shown.response.content


async def test_help_shows_what_this_member_may_use_here_clickable(world):
    shown = await world.alice.slash(world.channel, "help")

    page = shown.response.embeds[0].description
    assert shown.ephemeral
    for name in ("my-data", "privacy", "forget-me", "feedback", "why", "style"):
        assert f"</{name}:" in page
    assert "</stats" not in page and "</admin" not in page
    world.bot.owner_id = world.alice.id
    again = await world.alice.slash(world.channel, "help")
    assert "</admin pause:" in again.response.embeds[0].description
    opened = await world.alice.click(again.response, label="How I should write to you")
    assert NOTHING in opened.response.content


async def test_every_registered_command_is_on_the_page_or_has_a_reason_not_to_be(world):
    walked = [*world.bot.tree.walk_commands(), *world.bot.tree.get_commands(type=guide.MENU)]
    names = {one.qualified_name for one in walked if not hasattr(one, "commands")}

    page = guide.page_of(guide.commands_in(world.bot.tree), {})

    missing = {name for name in names if f"`/{name}`" not in page and f"*{name}*" not in page}
    assert missing == set(guide.NOT_LISTED)
    assert len(page) < 4000  # Discord's limit for one page
