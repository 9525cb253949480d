"""A member presses a button or sends a form, and pauses and resumes learning while it waits: nothing counts.

Control: it is not noted when a press came; then each of them teaches.
"""

from __future__ import annotations

from dataclasses import replace

from bot import client
from tests.attacks.test_forget_midway import (
    Midway,
    Scene,
    picks,
    presses_a_star,
    rates,
    sends_the_form,
    taps,
    wants_another,
)
from tests.integration.conftest import opened


async def pauses_and_resumes(scene: Scene) -> None:
    await scene.world.house.store.pauses.pause(scene.alice)
    await scene.world.house.store.pauses.resume(scene.alice)


async def taught_over(settings, decide, monkeypatch) -> dict[str, dict[str, object]]:
    """Return what each act adds to labels and remarks if Alice decides so before its first step."""
    found: dict[str, dict[str, object]] = {}
    async with opened(settings) as world:
        scene = Scene(world)
        midway = Midway(scene, decide)
        with monkeypatch.context() as patched:
            midway.wrap(patched)
            for act in (rates, presses_a_star, picks, taps, sends_the_form, wants_another):
                await world.bot.privacy.forget(scene.alice.user_id)
                await scene.prepare(act)
                before = await scene.kept()
                midway.at(0)
                await act(world, scene)
                after = await scene.kept()
                assert midway.reached
                added = {name: after[name] for name in after if after[name] != before.get(name)}
                found[act.__name__] = {
                    name: added[name] for name in ("choices", "remarks", "stars") if name in added
                }
    return found


async def test_what_waited_over_a_pause_teaches_nothing(settings, monkeypatch):
    found = await taught_over(settings, pauses_and_resumes, monkeypatch)

    assert {act: added for act, added in found.items() if added} == {}


async def test_control_what_waited_teaches_if_its_time_is_not_known(settings, monkeypatch):
    def without_time(interaction, came, asker):
        asker.who = replace(asker.who, came=None)
        before(interaction, None, asker)

    before = client.note_arrival
    monkeypatch.setattr(client, "note_arrival", without_time)

    found = await taught_over(settings, pauses_and_resumes, monkeypatch)

    assert all(found.values())
