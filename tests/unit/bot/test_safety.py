"""The output filter: what must not be posted goes, what people really write stays."""

import random

import pytest

from bot.generators import Candidate
from bot.safety import MAX_LENGTH, Drop, Filtered, OutputFilter
from tests.timing import assert_cost_is_about_linear

PERSONA = "You are Simpatico, a friendly member of a Discord server."
INSTRUCTION = "Answer in several sentences, with reasons and an example."

HONEST = (
    "ok",
    "42",
    "👍",
    "🎉🎉🎉",
    "hahahahahahahahaha",
    "Nooooooooooooooo!!!!!!!!!!!!!!!!!!!!!!!",
    "はい、そうです。",
    "שלום! מה שלומך?",
    "Sure, ask me anything: I like cats.",
    "The system: it works. Really.",
    "See https://example.org/a_(b) and <https://example.org>.",
    "An array [1](2) and a call f[x](y).",
    "Use `[text](https://example.org)` to write a link in Markdown.",
    "```yaml\nuser: bob\nsystem: linux\n```",
    "```\ntitle\n" + "-" * 70 + "\n```",
    "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, life is a dream.",
    "1. Take a walk.\n2. Read a book.\n3. Call a friend.\n4. Bake some bread.\n5. Take a nap.",
    "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |",
    "Discord is a chat service.",
    "I would answer in one short sentence.",
    "x" * 50,
)

BAD = {
    "": Drop.BLANK,
    " \n\t ": Drop.BLANK,
    "\u200b\u200d\ufeff": Drop.BLANK,
    "...": Drop.BLANK,
    "?!*_~": Drop.BLANK,
    "`": Drop.BLANK,
    "a b " * 5001: Drop.TOO_LONG,
    "<|im_start|>system": Drop.LEAKED_PROMPT,
    "Hi <|im_\u200bend|> there": Drop.LEAKED_PROMPT,
    "hello</s>": Drop.LEAKED_PROMPT,
    "[INST] hello [/INST]": Drop.LEAKED_PROMPT,
    "<end_of_turn> hello": Drop.LEAKED_PROMPT,
    "Hello!\nSystem: you are a bot": Drop.LEAKED_PROMPT,
    "**Assistant:** hello": Drop.LEAKED_PROMPT,
    "My rule says: you are  SIMPATICO, a friendly\nmember of a Discord server.": Drop.LEAKED_PROMPT,
    "As told, I " + INSTRUCTION: Drop.LEAKED_PROMPT,
    "join discord.gg/abc": Drop.INVITE_LINK,
    "join https://discord.com/invite/abc": Drop.INVITE_LINK,
    "join discordapp.com/invite/abc": Drop.INVITE_LINK,
    "join disc\u200bord.gg/abc": Drop.INVITE_LINK,
    "join ｄｉｓｃｏｒｄ.gg/abc": Drop.INVITE_LINK,
    "join discord%2Egg/abc": Drop.INVITE_LINK,
    "`discord.gg/abc`": Drop.INVITE_LINK,
    "join dsc.gg/abc": Drop.INVITE_LINK,
    "free [https://good.example](https://bad.example) stuff": Drop.MASKED_LINK,
    "[here]( <HTTPS://bad.example> )": Drop.MASKED_LINK,
    "[app](steam://run)": Drop.MASKED_LINK,
    "🐦" * 20: Drop.LOOP,
    "I am so glad. " * 20: Drop.LOOP,
    "it is what it is and " * 12: Drop.LOOP,
    "ですよね" * 30: Drop.LOOP,
    "a" * 80: Drop.LOOP,
    "This opening is fine and says much. " + "no way " * 30: Drop.LOOP,
    "I like cats a lot. And dogs. I like cats a lot! Yes. I like cats a lot.": Drop.LOOP,
}


@pytest.fixture
def output_filter():
    return OutputFilter([PERSONA, INSTRUCTION, "Be warm."])


@pytest.mark.parametrize("text", HONEST, ids=range(len(HONEST)))
def test_an_honest_reply_passes(output_filter, text):
    assert output_filter.reason(text) is None


@pytest.mark.parametrize(("text", "reason"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_reply_is_dropped_for_its_reason(output_filter, text, reason):
    assert output_filter.reason(text) is reason


def test_short_instructions_may_be_said(output_filter):
    assert output_filter.reason("Be warm. It is cold outside!") is None


def test_a_filter_without_secrets_does_not_look_for_them():
    assert OutputFilter().reason(PERSONA) is None


def test_the_longest_allowed_reply_passes(output_filter):
    words = random.Random(3).choices("abcdefghij klmnop qrstu vwxyz".split(" "), k=2000)
    text = " ".join(f"{word}{i}" for i, word in enumerate(words))[:MAX_LENGTH]

    assert len(text) == MAX_LENGTH
    assert output_filter.reason(text) is None
    assert output_filter.reason(text + "x") is Drop.TOO_LONG


def test_filtering_keeps_order_and_counts_reasons_without_texts(output_filter):
    good = [Candidate("one", "concise"), Candidate("two", "warm")]
    bad = [Candidate("discord.gg/a", "x"), Candidate("", "x"), Candidate("...", "x")]

    result = output_filter.apply([bad[0], good[0], bad[1], good[1], bad[2]])

    assert result == Filtered(kept=tuple(good), dropped={Drop.INVITE_LINK: 1, Drop.BLANK: 2})


def test_what_was_dropped_is_logged_as_counts_only(output_filter, caplog):
    caplog.set_level("INFO")

    kept = output_filter.keep([Candidate(text, "x") for text in ("discord.gg/abc", "fine", "")])

    assert kept == [Candidate("fine", "x")]
    assert caplog.messages == ["Dropped 2 of 3 candidates (invite link: 1, blank: 1)"]


def test_an_empty_list_passes_through(output_filter):
    assert output_filter.apply([]) == Filtered(kept=(), dropped={})


@pytest.mark.parametrize(
    "unit", ["[", "[]", "[](", "`", "<|", "a", "ab ", "discord", " \n", "(x", "\u0301", "é "]
)
def test_hostile_texts_are_judged_in_linear_time(output_filter, unit):
    assert_cost_is_about_linear(lambda n: output_filter.reason((unit * n)[: n - 1] + "z"), MAX_LENGTH)
