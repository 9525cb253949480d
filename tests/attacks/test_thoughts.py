"""A member makes a thinking model write down what nobody may read: no thought of any family is posted.

Each family writes its thoughts in marks of its own. Whole, cut off at every place, with a prompt that began
the thought, or with a thought that quotes marks and opens code: the thoughts never pass as a reply.
"""

from __future__ import annotations

import random

import pytest

from bot.generation import GeneratorError
from bot.generators import marks, thinking
from bot.generators.cleaning import Written, candidates_of
from tests.rig.size import sized
from tests.rig.thoughts import BARE, CHANNELS, FAMILIES

CANARY = "canary"
ANSWER = "Green tea, please. It is fine."
PIECES = (
    "Okay, the canary wants tea.", "canary: `x", "```py\ncanary = 1\n```", "```\ncanary", "\n\n- canary\n",
    "> canary\n",
    'The "canary" said: "no', "User: canary\n", "I should not say canary.\n",
    "**canary**", "<b>canary</b>", "'canary",
    "`<think>` canary ", '"</think>" canary ', "System: canary\n", "1. canary\n2. canary\n",
)  # fmt: skip


def posted(raw: str, *, cut_off: bool = False, opened: bool = False) -> list[str]:
    try:
        return [one.text for one in candidates_of([Written(raw, "s", cut_off, opened=opened)])]
    except GeneratorError:
        return []


def outputs(family: str, n: int):
    """Yield whole outputs of a family, with generated thoughts."""
    rng = random.Random(family)
    for _ in range(n):
        thought = " ".join(rng.choice(PIECES) for _ in range(rng.randint(1, 6)))
        yield family.format(thought=f"Hm. {thought}", answer=ANSWER)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_thought_is_posted_and_the_answer_is(family):
    for raw in outputs(family, sized(ci=12, full=400)):
        assert posted(raw) == [ANSWER], raw
        for start in (
            ("\n\n",) if family in (*CHANNELS, *BARE) else ("<|im_start|>assistant\n", "\n\n", "<s>")
        ):
            assert posted(start + raw) == [ANSWER], raw


@pytest.mark.parametrize("family", FAMILIES)
def test_no_thought_is_posted_wherever_the_output_is_cut_off(family):
    for raw in outputs(family, sized(ci=2, full=40)):
        for length in range(0, len(raw), sized(ci=5, full=1)):
            assert not any(CANARY in text for text in posted(raw[:length], cut_off=True)), raw[:length]


@pytest.mark.parametrize("family", [one for one in FAMILIES if one[0] in "<[\u25c1" and "<|" not in one])
def test_a_thought_that_the_prompt_began_is_not_posted(family):
    for raw in outputs(family, sized(ci=6, full=200)):
        within = raw[raw.index("Hm.") :]
        assert posted(within, opened=True) == [ANSWER], within


def test_control_without_the_table_thoughts_are_posted(monkeypatch):
    monkeypatch.setattr(thinking, "behind_thoughts", lambda plain, opened: (0, False))
    monkeypatch.setattr("bot.generators.cleaning.behind_thoughts", lambda plain, opened: (0, False))
    monkeypatch.setattr("bot.generators.cleaning.marks_in", lambda plain: [])

    assert CANARY in posted(next(outputs("<think>{thought}</think>\n{answer}", 1)))[0]
    assert marks.has_mark("<think>")
