"""Forged, doubled and flooding presses on the six taps: a member has at most one choice for each pair.

Control: without the number that a row begins after, each press of a double click is stored as one of its own.
"""

from __future__ import annotations

import asyncio

import pytest
import simcord

from bot.replies.six_taps.asking import SixTaps
from bot.replies.six_taps.texts import pairs_in
from bot.ui.six_taps.panel import TapButton
from storage.records import Picked, Who
from storage.replies import taps as stored_taps
from tests.integration.test_six_taps import begun, kept
from tests.rig.size import sized

N_PAIRS = len(pairs_in("en"))
FORGED = (
    "simpatico:tap:first:0:en:zzz",
    "simpatico:tap:first:0:xx:a",
    "simpatico:tap:first:0:../../en:a",
    "simpatico:tap:again:0:en:a",
    "simpatico:tap:first:-1:en:a",
    "simpatico:tap:none:1-:en:a",
    "simpatico:tap:none:1-2:en:a",
    "simpatico:tap:first:0:en:" + "a" * 70,
    "simpatico:tap:first:0:en:",
)
"""Ids that no button has: they reach no code of ours."""


async def flood(world, who: Who, n: int) -> None:
    """Answer pairs at once, with any number that a forged id may hold."""
    taps: SixTaps = world.bot.six_taps
    bound = await world.house.store.consent.bound(who)
    pairs = pairs_in("en")
    await asyncio.gather(
        *(
            taps.record(bound, "en", pairs[i % N_PAIRS], Picked.FIRST, since=(0, 10**17)[i % 2])
            for i in range(n)
        )
    )


async def test_double_presses_and_floods_leave_one_choice_for_each_pair(world):
    await world.agree(world.alice)
    who = Who(world.guild.id, world.alice.id)
    bound = await world.house.store.consent.bound(who)
    taps, pair = world.bot.six_taps, pairs_in("en")[0]
    both = (Picked.FIRST, Picked.SECOND)
    doubled = await asyncio.gather(*(taps.record(bound, "en", pair, one, since=0) for one in both))
    after_double = await kept(world, world.alice)
    await flood(world, who, sized(ci=100, full=2000))

    assert doubled == [True, False]
    assert after_double == {pair.name: Picked.FIRST}
    assert len(await kept(world, world.alice)) == N_PAIRS
    assert (await world.house.store.privacy.summary(who)).n_preferences == N_PAIRS


async def test_a_press_of_another_member_acts_on_their_own_data_alone(world):
    page = await begun(world, world.alice)
    (answer,) = [one for one in custom_ids(page) if ":first:" in one]
    with pytest.raises(simcord.SetupError):
        await world.ben.click(page, custom_id=answer)  # Discord shows the page to Alice alone
    await world.agree(world.ben)
    ben = await world.house.store.consent.bound(Who(world.guild.id, world.ben.id))
    await world.bot.six_taps.record(ben, "en", pairs_in("en")[0], Picked.FIRST, since=0)

    assert await kept(world, world.alice) == {}
    assert len(await kept(world, world.ben)) == 1


def test_forged_ids_belong_to_no_button():
    template = TapButton.__discord_ui_compiled_template__
    genuine = "simpatico:tap:first:0:pt_BR:abcdef"

    assert template.fullmatch(genuine)
    assert template.fullmatch("simpatico:tap:none:0:en:abcdef")
    assert [one for one in FORGED if template.fullmatch(one)] == []


async def test_control_without_the_answers_so_far_a_double_press_is_stored_twice(world, monkeypatch):
    monkeypatch.setattr(stored_taps, "_taps", lambda *_: {})
    await world.agree(world.alice)
    who = Who(world.guild.id, world.alice.id)

    await flood(world, who, 2 * N_PAIRS)

    assert (await world.house.store.privacy.summary(who)).n_preferences == 2 * N_PAIRS


def custom_ids(page) -> list[str]:
    """Return the ids of all buttons of a page."""
    return [one["custom_id"] for row in page.components for one in row["components"]]
