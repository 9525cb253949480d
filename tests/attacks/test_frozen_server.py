"""A manager of one server chooses blocked words that once froze every server: the event loop goes on.

With a backtracking search, the term "i hate" took three seconds for 600 exclamation marks, and "i i i i x"
took 17 seconds for 40 signs. An entry of `/faq` repeated that at each question. The longest list was compiled
in one step, which holds the GIL, and 64 lists stayed in memory, whatever their size.
"""

from __future__ import annotations

import random
import time

import pytest
import re2

from bot.moderation import blocked_terms
from bot.moderation.blocked_terms import is_blocked
from storage.servers.safety_rules import LONGEST_TERM, MOST_TERMS
from tests.rig.lag import measured
from tests.rig.size import sized

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


def longest_list(seed: int, letters: str = "il ") -> tuple[str, ...]:
    rng = random.Random(seed)
    return tuple(
        "".join(rng.choice(letters) for _ in range(LONGEST_TERM - 1)) + "x" for _ in range(MOST_TERMS)
    )


@pytest.mark.parametrize("letters", ["il ", "日本語", "éüö "])
def test_no_single_step_of_compiling_the_longest_list_is_long(monkeypatch, letters):
    seconds = compile_times(monkeypatch)

    is_blocked("hello", longest_list(1, letters))

    assert 1000 * max(seconds) < LONGEST_MS / 2


def test_control_compiled_as_a_whole_the_longest_list_takes_long(monkeypatch):
    seconds = compile_times(monkeypatch)
    monkeypatch.setattr(blocked_terms, "_PIECE", 10**9)
    monkeypatch.setattr(blocked_terms, "_PIECE_MEMORY", 64 << 20)

    is_blocked("hello", longest_list(2))

    assert 1000 * max(seconds) > LONGEST_MS / 2


def compile_times(monkeypatch) -> list[float]:
    """Return the CPU time of each call of RE2's compiler, which holds the GIL; filled while it is used."""
    seconds: list[float] = []
    compile_one = re2.compile

    def timed(*args):
        started = time.thread_time()
        compiled = compile_one(*args)
        seconds.append(time.thread_time() - started)
        return compiled

    monkeypatch.setattr(re2, "compile", timed)
    return seconds


def test_many_long_lists_do_not_fill_the_memory():
    cache, n_lists = blocked_terms._matcher.cache, sized(ci=7, full=40)

    for seed in range(10, 10 + n_lists):
        is_blocked("hello", longest_list(seed))

    assert cache.currsize <= blocked_terms._MOST_INSTRUCTIONS
    assert 2 <= len(cache) < n_lists
