"""A hostile member or manager reads out what another member did: in figures, answers and ids of buttons."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bot.servers import published
from bot.settings import LimitSettings
from storage.database import change_numbers
from tests.integration.conftest import World, opened
from tests.integration.conftest import settings as settings  # a fixture
from tests.integration.conftest import world as world  # a fixture
from tests.rig.figures import boss_of, looks, taught


def masked(text: str) -> str:
    """Return a text without ids and times, which differ for each message anyway."""
    return re.sub(r"\d{10,}", "#", text)


async def test_four_accounts_of_a_manager_do_not_show_the_fifth_member(world, monkeypatch):
    monkeypatch.setattr(published, "noise", lambda *_what: 0)  # so that a change would be the victim's
    boss = boss_of(world)
    await taught(world, 4, "mine")
    before = await looks(world, boss, weeks=1)
    await taught(world, 1, "victim")
    after = await looks(world, boss, weeks=2)

    assert before.response.content == after.response.content


async def test_status_is_the_same_before_and_after_others_taught(world):
    before = await world.ben.slash(world.channel, "status")
    await taught(world, 2)
    after = await world.ben.slash(world.channel, "status")

    assert before.response.content == after.response.content


async def reviewed(world: World, boss) -> tuple[str, list[str]]:
    """Report Alice's next reply, look at the review as a manager, dismiss it; return text and button ids."""
    asked = await world.ben.context_menu(world.channel, "Report this reply", await world.ask(world.alice))
    await world.ben.select(asked.response, ["rude"])
    shown = await boss.slash(world.channel, "review")
    ids = [button["custom_id"] for row in shown.response.components for button in row["components"]]
    await boss.click(shown.response, label="Dismiss 1")
    return masked(shown.response.content), [masked(each) for each in ids]


async def test_the_review_does_not_show_whether_the_asker_agreed(world):
    boss = boss_of(world)

    without = await reviewed(world, boss)
    await world.agree(world.alice)

    assert await reviewed(world, boss) == without
    assert len(without[1]) == 2


@pytest.mark.parametrize("name", ["why", "limits", "status", "feedback"])
async def test_a_command_about_oneself_does_not_change_when_another_member_agrees_and_rates(world, name):
    before = await world.ben.slash(world.channel, name)
    await taught(world, 1, "victim")
    after = await world.ben.slash(world.channel, name)

    assert before.response.content == after.response.content


async def test_the_limits_of_a_server_do_not_tell_what_one_answer_cost(settings):
    limited = replace(settings, limits=LimitSettings(server_messages=1000, server_tokens=100_000))
    async with opened(limited) as world:
        await world.ask(world.ben)
        before = await world.ben.slash(world.channel, "limits")
        await world.ask(world.alice, "a long and private question " * 20)
        after = await world.ben.slash(world.channel, "limits")

    assert "about 100 % of 1000" in before.response.content
    assert before.response.content == after.response.content


async def gap_of_numbers(world: World, n_others: int) -> int:
    """Return by how much two numbers of Ben differ, with acts of others between them, at fixed times."""
    writer, moments = world.house.store._writer, iter((10**16, 10**16 + 10**9))

    async def number_of_ben() -> int:
        moment = next(moments)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(change_numbers, "microseconds", lambda: moment)
            return await writer.submit(change_numbers.next_number)

    first = await number_of_ben()
    for _ in range(n_others):
        await writer.submit(change_numbers.next_number)
    return await number_of_ben() - first


@pytest.mark.parametrize("n_others", [0, 1, 100])
async def test_the_gap_between_two_own_numbers_does_not_tell_how_much_others_did(world, n_others):
    assert await gap_of_numbers(world, n_others) == 10**9
