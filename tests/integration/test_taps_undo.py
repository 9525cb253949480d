"""Undo in the six taps: it goes back to the latest answered pair, and loses no earlier answer."""

from __future__ import annotations

import random

import pytest

from bot.replies.six_taps.asking import TAPS
from bot.replies.six_taps.texts import pairs_in
from bot.ui.feedback_text import EARLIER_AGAIN
from bot.ui.six_taps import panel
from storage.records import Picked, Who
from tests.integration.test_panel import labels_of
from tests.integration.test_six_taps import begun, kept, shown_pair
from tests.rig.size import sized

UNDO = "Undo last choice"


async def begun_again(world, member):
    """Begin a row of taps from `/style`, and return its page."""
    style = await member.slash(world.channel, "style")
    return (await member.click(style.response, label=panel.OFFER)).response


async def assert_undo_goes_to_the_latest_answer(world, page, presses) -> None:
    """Press these buttons and *Stop*, then undo until nothing is left."""
    answered = []
    for label in presses:
        if label != "Skip":
            answered.append(shown_pair(page)[0])
        await world.alice.click(page, label=label)
    if page.embeds:  # the sixth press ends the row by itself
        await world.alice.click(page, label="Stop")
    assert ("Undo all" in labels_of(page)) is (len(answered) > 1)
    while answered:
        await world.alice.click(page, label=UNDO)
        assert shown_pair(page)[0] == answered.pop()
        assert set(await kept(world, world.alice)) == {pair.name for pair in answered}
    assert UNDO not in labels_of(page)


async def test_after_any_presses_and_stop_undo_takes_back_one_answer_after_the_other(world):
    rng = random.Random(9)
    page = await begun(world, world.alice)
    rows = [["A"], ["A", "Skip", "Skip"], ["Skip", "A", "Skip", "No matter", "Skip", "Skip"]]
    for _ in range(sized(ci=1, full=30)):
        rows.append(rng.choices(("A", "B", "No matter", "Skip"), k=rng.randint(1, TAPS)))
    for presses in rows:
        await assert_undo_goes_to_the_latest_answer(world, page, presses)
        page = await begun_again(world, world.alice)


async def test_control_an_undo_of_the_pair_shown_last_takes_nothing_back_after_a_skip(world, monkeypatch):
    monkeypatch.setattr(panel.Row, "back_to", lambda row, answered: row if answered else None)
    page = await begun(world, world.alice)

    with pytest.raises(AssertionError):
        await assert_undo_goes_to_the_latest_answer(world, page, ["A", "Skip", "Skip"])


async def test_one_press_takes_back_the_whole_row_and_answers_of_earlier_rows_count_again(world):
    await world.agree(world.alice)
    who = await world.house.store.consent.bound(Who(world.guild.id, world.alice.id))
    for pair in pairs_in("en"):
        await world.bot.six_taps.record(who, "en", pair, Picked.EQUAL, since=0)
    before = await world.house.store.taps.of(who)
    page = await begun_again(world, world.alice)
    for _ in range(TAPS):
        await world.alice.click(page, label="A")
    ended = await kept(world, world.alice)

    await world.alice.click(page, label="Undo all")

    assert sum(one is not Picked.EQUAL for one in ended.values()) == TAPS
    assert page.content == f"{panel.ALL_UNDONE} {EARLIER_AGAIN}"
    assert await world.house.store.taps.of(who) == before
    assert set((await kept(world, world.alice)).values()) == {Picked.EQUAL}


async def test_a_page_that_ended_takes_back_nothing_of_another_page(world):
    page = await begun(world, world.alice)
    other = await begun_again(world, world.alice)
    for _ in range(2):
        await world.alice.click(page, label="A")
    await world.alice.click(page, label="Stop")
    ended = page.content
    for _ in range(2):
        await world.alice.click(other, label="Skip")
    third, _ = shown_pair(other)
    await world.alice.click(other, label="A")
    await world.alice.click(page, label="Undo all")

    assert "I recorded 2 choices." in ended
    assert page.content == panel.ALL_UNDONE
    assert set(await kept(world, world.alice)) == {third.name}


async def presses_on_two_pages(world, rng, n: int) -> None:
    """Press at random on two pages, beside a plain record of the answers of each; both start at one pair."""
    who = await world.house.store.consent.bound(Who(world.guild.id, world.alice.id))
    await world.house.store.learning.start_over(who)
    pages = [await begun_again(world, world.alice) for _ in range(2)]
    own: list[dict[str, Picked]] = [{}, {}]
    for at in range(n):
        i = at % 2 if at < 4 else rng.randrange(2)  # both answer the first pair
        page, labels = pages[i], [one for one in labels_of(pages[i]) if one != panel.OFFER]
        if not labels:
            continue
        label = "A" if at < 4 else rng.choice(labels)
        shown = shown_pair(page) if page.embeds else None
        await world.alice.click(page, label=label)
        if label in ("A", "B", "No matter") and shown is not None:
            pair, more = shown
            picked = Picked.EQUAL if label == "No matter" else (Picked.FIRST, Picked.SECOND)[label == more]
            refused = pair.name in own[0] | own[1]
            own[i] |= {} if refused else {pair.name: picked}
            noted = refused and own[i].get(pair.name) is not picked
            assert page.content.startswith(panel.NOT_RECORDED) is noted
        elif label == UNDO:
            del own[i][shown_pair(page)[0].name]
        elif label == "Undo all":
            own[i].clear()
            assert page.content == panel.ALL_UNDONE
        if "Undo all" in labels_of(page):
            assert f"I recorded {len(own[i])} choices." in page.content
        assert await kept(world, world.alice) == own[0] | own[1]


async def test_two_pages_count_and_undo_their_own_answers_and_say_what_is_not_recorded(world):
    await world.agree(world.alice)
    rng = random.Random(21)
    for _ in range(sized(ci=1, full=30)):
        await presses_on_two_pages(world, rng, sized(ci=18, full=40))


async def test_control_pages_with_one_number_take_each_others_answers(world, monkeypatch):
    async def one_number() -> int:
        return 0

    monkeypatch.setattr(world.house.store.taps, "begin", one_number)
    await world.agree(world.alice)

    with pytest.raises(AssertionError):
        await presses_on_two_pages(world, random.Random(21), 18)


async def test_an_ended_page_leaves_the_answer_of_a_later_row_and_says_so(world):
    page = await begun(world, world.alice)
    pair, more = shown_pair(page)
    await world.alice.click(page, label="AB".replace(more, ""))
    await world.alice.click(page, label="Stop")
    taps, store = world.bot.six_taps, world.house.store
    who = await store.consent.bound(Who(world.guild.id, world.alice.id))
    await taps.record(who, "en", pair, Picked.SECOND, since=await taps.begin())
    (number,) = (await store.taps.of(who)).values()

    await world.alice.click(page, label=UNDO)
    asked = shown_pair(page)[0]
    after_undo = await kept(world, world.alice)
    await world.alice.click(page, label="No matter")

    assert (asked, after_undo) == (pair, {pair.name: Picked.SECOND})
    assert page.content.startswith(panel.NOT_RECORDED)
    assert await kept(world, world.alice) == after_undo
    assert await store.preferences.undo(who, number)
    assert await kept(world, world.alice) == {}  # what the page undid does not come back


async def test_an_answer_in_another_language_is_not_put_back(world):
    await world.agree(world.alice)
    taps, store = world.bot.six_taps, world.house.store
    who = await store.consent.bound(Who(world.guild.id, world.alice.id))
    for language in ("de", "en"):
        since = await taps.begin()
        await taps.record(who, language, pairs_in(language)[0], Picked.FIRST, since=since)

    assert await taps.undo(who, pairs_in("en"), since=since) == (1, False)
    assert await kept(world, world.alice) == {}
