"""A manager of one server chooses blocked words that once froze every server: the event loop goes on.

With a backtracking search, the term "i hate" took three seconds for 600 exclamation marks, and "i i i i x"
took 17 seconds for 40 signs. An entry of `/faq` repeated that at each question.
"""

from __future__ import annotations

import pytest

from tests.rig.lag import measured

LONGEST_MS = 100.0
TERMS = {
    "two words": "i hate",
    "single letters": "i i i i x",
    "many lists of letters": "\n".join(f"{'i ' * n}x" for n in range(1, 30)),
    "stand-ins": "\n".join(f"{letter * 50}x" for letter in "abegilostz"),
}
TEXTS = {"marks": "!" * 600, "spaced": "! " * 1000, "digits": "1! " * 600, "mixed": "i!1|l " * 330}


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
async def test_no_words_and_no_text_hold_the_loop(world, boss, terms):
    form = await boss.slash(world.channel, "safety words")
    await boss.submit_modal(form, {"words": terms})
    await world.ask(world.alice)  # the terms are compiled once

    with measured() as lag:
        for text in TEXTS.values():
            world.generator.default = (text, f"{text}.", f"{text}?")
            await world.ask(world.alice)

    assert max(lag.held_ms) < LONGEST_MS


async def test_an_answer_of_the_faq_is_matched_as_fast(world, boss):
    form = await boss.slash(world.channel, "safety words")
    await boss.submit_modal(form, {"words": TERMS["single letters"]})
    form = await boss.slash(world.channel, "faq add")
    await boss.submit_modal(form, {"question": "Which sign?", "answer": "!" * 1800})

    with measured() as lag:
        await world.ask(world.alice, "Which sign?")

    assert max(lag.held_ms) < LONGEST_MS
