"""The output filter drops what must not be posted and keeps ordinary replies."""

import random

import pytest

from bot.generation import Candidate
from bot.moderation.output_filter import MAX_LENGTH, Drop, Filtered, Level, OutputFilter, Rules
from bot.settings import SafetySettings
from storage.servers.safety_rules import ServerRules
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


async def test_what_was_dropped_is_logged_as_counts_only(output_filter, caplog):
    caplog.set_level("INFO")

    kept = await output_filter.keep([Candidate(text, "x") for text in ("discord.gg/abc", "fine", "")])

    assert kept == [Candidate("fine", "x")]
    assert caplog.messages == ["Dropped 2 of 3 candidates (invite link: 1, blank: 1), standard"]


LEVELS = {  # text -> result at the levels relaxed, standard, strict
    "Join discord.gg/abc": ("Join discord.gg/abc", Drop.INVITE_LINK, Drop.INVITE_LINK),
    "See [this](https://a.example/b).": (
        "See this (https://a.example/b).", Drop.MASKED_LINK, Drop.MASKED_LINK,
    ),
    "[x](<https://a.example>)": ("x (https://a.example)", Drop.MASKED_LINK, Drop.MASKED_LINK),
    "See https://a.example/b, or <http://c.example>!": (
        "See https://a.example/b, or <http://c.example>!",
        "See https://a.example/b, or <http://c.example>!",
        "See (link removed), or <(link removed)>!",
    ),
    "look](https://a.example)": (
        "look](https://a.example)", "look](https://a.example)", "look]((link removed))",
    ),
    "https\u200b://a.example": ("https\u200b://a.example", "https\u200b://a.example", Drop.LINK),
    "Ask <@123> or <@&45>, in <#67>.": (
        "Ask <@123> or <@&45>, in <#67>.", "Ask or, in <#67>.", "Ask or, in <#67>.",
    ),
    "@everyone, @here and @everyones": (
        "@everyone, @here and @everyones", "everyone, here and @everyones", "everyone, here and @everyones",
    ),
    "<@123>": ("<@123>", Drop.BLANK, Drop.BLANK),
    "`@everyone <@1> https://a.example`": ("`@everyone <@1> https://a.example`",) * 3,
    "What a Dummkopf!": (Drop.BLOCKED_TERM,) * 3,
    "  kept as it is ": ("  kept as it is ",) * 3,
}  # fmt: skip


@pytest.mark.parametrize(("text", "ends"), LEVELS.items(), ids=range(len(LEVELS)))
def test_each_level_takes_out_and_drops_what_it_says(output_filter, text, ends):
    found = []
    for level in Level:
        rules = Rules(level, ("dummkopf",))
        tidied = output_filter.tidied(text, rules)
        found.append(output_filter.reason(tidied, rules) or tidied)

    assert tuple(found) == ends


def test_a_servers_rules_come_on_top_of_the_hosts():
    output_filter = OutputFilter(settings=SafetySettings(level="relaxed", blocked_terms=("one",)))

    assert output_filter.rules_for(ServerRules()) == Rules(Level.RELAXED, ("one",))
    assert output_filter.rules_for(ServerRules("strict", ("two",))) == Rules(Level.STRICT, ("one", "two"))
    assert output_filter.rules_for(ServerRules("from a later version")) == Rules(Level.RELAXED, ("one",))
    assert output_filter.rules_for(None) == Rules(Level.STRICT, ("one",))  # they cannot be read


class Judge:
    """Judge that reads the toxicity from the text itself, and fails on words."""

    async def toxicity(self, texts):
        try:
            return [float(text) for text in texts]
        except ValueError:
            raise RuntimeError("no number") from None


async def test_the_judge_is_asked_about_what_is_left_and_the_level_says_how_much_is_too_much():
    output_filter = OutputFilter(judge=Judge())
    texts = [Candidate(text, "x") for text in ("0.3", "0.5", "0.8", "0.95", "...")]

    kept = [[c.text for c in await output_filter.keep(texts, Rules(level))] for level in Level]

    assert kept == [["0.3", "0.5", "0.8"], ["0.3", "0.5"], ["0.3"]]
    assert output_filter.n_dropped == {Drop.BLANK: 3, Drop.TOXIC: 1 + 2 + 3}


async def test_a_judge_that_fails_lets_pass_but_at_the_strictest_level(caplog):
    output_filter = OutputFilter(judge=Judge())
    texts = [Candidate("words", "x")]

    assert [len(await output_filter.keep(texts, Rules(level))) for level in Level] == [1, 1, 0]
    assert "words" not in caplog.text and "RuntimeError" in caplog.text


def test_an_empty_list_passes_through(output_filter):
    assert output_filter.apply([]) == Filtered(kept=(), dropped={})


@pytest.mark.parametrize(
    "unit", ["[", "[]", "[](", "`", "<|", "a", "ab ", "discord", " \n", "(x", "\u0301", "é "]
)
def test_hostile_texts_are_judged_in_linear_time(output_filter, unit):
    assert_cost_is_about_linear(lambda n: output_filter.reason((unit * n)[: n - 1] + "z"), MAX_LENGTH)
