"""The glass box sees replies, labels and rounds, and members leave it with everything else."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from bot.app.glass_box.serving import FILES, connected
from storage.records import Who
from tests.rig.held import Member, held

ROOT = Path(__file__).parents[2]
QUESTION = "what about my zebrafish?"


@pytest.fixture
def box(world):
    """A glass box on the bot, with Alice and Ben as viewers."""
    box = connected(world.house)
    box.show({Who(world.guild.id, one.id): one.name.title() for one in (world.alice, world.ben)})
    return box


async def drawn(box) -> dict:
    """Read anew and return the page's data."""
    await box.refresh()
    return json.loads(box.page)


async def learn(world, member, emoji: str = "👍") -> None:
    """Let a member react to their latest reply, and a round learn from it."""
    await member.react(world.channel.last_message, emoji)
    await world.bot.inbox.wait_idle()


async def test_a_thumb_and_a_round_move_a_bar_and_the_chances(world, box):
    await world.agree(world.alice)
    await world.ask(world.alice, QUESTION)
    before = await drawn(box)
    await learn(world, world.alice)
    labelled = await drawn(box)
    await world.house.trainer.run_round()

    after = await drawn(box)

    (reply,) = after["replies"]
    posted = [one["posted"] for one in reply["candidates"]].index(True)
    assert (reply["asker"], reply["asked"], reply["feedback"], reply["label"]) == (
        "Alice",
        QUESTION,
        ["thumbs up"],
        1.0,
    )
    assert [one["text"] for one in reply["candidates"]] == list(world.generator.default)
    assert {bar["at"] for bar in before["viewers"][0]["bars"]} == {0}
    assert any(bar["at"] and not bar["before"] for bar in after["viewers"][0]["bars"])
    scores = [one["replies"][0]["now"][0]["scores"] for one in (before, labelled, after)]
    assert scores[0] == scores[1] != scores[2]
    assert scores[2][posted] > scores[0][posted]
    kinds = [note["kind"] for note in after["notes"]]
    assert kinds == ["taste", "round", "label", "reply"]


async def test_another_member_is_ranked_by_their_own_head_only(world, box):
    await world.agree(world.alice)
    await world.ask(world.alice)
    before = await drawn(box)
    await learn(world, world.alice)
    await world.house.trainer.run_round()

    after = await drawn(box)

    ben = [one["replies"][0]["now"][1] for one in (before, after)]
    assert ben[0] == ben[1] == before["replies"][0]["now"][0]
    viewers = [(one["name"], one["consent"], one["labels"]) for one in after["viewers"]]
    assert viewers == [("Alice", "agreed", 1), ("Ben", "unknown", 0)]
    assert {bar["at"] for bar in after["viewers"][1]["bars"]} == {0}


async def test_a_member_who_has_not_agreed_teaches_nothing_and_gets_the_base_ranking(world, box):
    await world.ask(world.ben, QUESTION)
    await learn(world, world.ben)
    await world.house.trainer.run_round()

    page = await drawn(box)

    (reply,) = page["replies"]
    assert (reply["asker"], reply["feedback"], reply["label"]) == ("Ben", [], None)
    assert reply["now"][0] == reply["now"][1]
    assert [note["kind"] for note in page["notes"]] == ["reply"]


async def used_by_both(world, box) -> None:
    for member in (world.alice, world.ben):
        await world.agree(member)
        await world.ask(member, f"{QUESTION} {member.name}")
        await learn(world, member)
        await drawn(box)
        await world.house.trainer.run_round()
        await drawn(box)


@pytest.mark.parametrize("leave", ["forget", "refuse"])
async def test_a_member_who_leaves_leaves_every_panel_at_once(world, box, leave):
    await used_by_both(world, box)
    alice = Member(world.house.store, world.alice.id, (world.guild.id,))
    looker = box._looker
    names_all = held([box._replies, box._notes, box._before, box._last], alice, beside=[looker])

    if leave == "forget":
        await world.bot.privacy.forget(world.alice.id)
    else:
        await world.bot.privacy.refuse(Who(world.guild.id, world.alice.id))

    kept = held([box._replies, box._notes, box._before, box._last], alice, beside=[looker])
    assert names_all
    assert (kept, box.page) == ([], "")  # before anything is read again
    page = await drawn(box)
    assert "alice" not in json.dumps(page["replies"]) and "Alice" not in json.dumps(page["notes"])
    assert {bar["at"] for bar in page["viewers"][0]["bars"]} == {0}
    assert [reply["asker"] for reply in page["replies"]] == ["Ben"]
    assert any(note["text"].startswith("Ben's taste moved") for note in page["notes"])


async def test_news_that_anybody_left_empty_everything(world, box):
    await used_by_both(world, box)

    world.bot.memory.forget_everyone()

    page = await drawn(box)
    assert page["replies"] == []
    assert {note["kind"] for note in page["notes"]} == {"round"}


async def test_a_look_that_a_forget_overtakes_is_read_again(world, box):
    await used_by_both(world, box)
    look, n_looks = box._looker.look, 0

    async def forgotten_meanwhile(*what):
        nonlocal n_looks
        found = await look(*what)
        n_looks += 1
        if n_looks == 1:
            await world.bot.privacy.forget(world.alice.id)
        return found

    box._looker.look = forgotten_meanwhile
    page = await drawn(box)

    assert (n_looks, [reply["asker"] for reply in page["replies"]]) == (2, ["Ben"])


async def test_nothing_of_it_reaches_the_disk(world, box, tmp_path):
    await used_by_both(world, box)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert files
    assert [path.name for path in files if b"zebrafish" in path.read_bytes()] == []


async def test_a_running_bot_has_no_observer(world):
    responder = world.house.parts.responder

    assert (responder._choice.observer, responder.recorder.observer) == (None, None)
    assert "glass box" not in dict(world.bot.memory)


def test_every_file_of_the_page_is_packaged():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    globs = project["tool"]["setuptools"]["package-data"]["bot"]
    packaged = {path.name for one in globs for path in (ROOT / "bot").glob(one)}

    assert {file for file, _ in FILES.values()} <= packaged


def test_only_the_playground_opens_it():
    """No other module names it, so neither ``run`` nor a command can open the page."""
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bot").rglob("*.py")
        if re.search(r"^\s*(from|import) .*glass_box", path.read_text("utf-8"), re.MULTILINE)
    }

    assert {one for one in users if "app/glass_box/" not in one} == {"bot/app/playground.py"}
