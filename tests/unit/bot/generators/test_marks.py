"""Marks of every family, at every place: a model's own marks are removed, those a reply is about stay."""

from __future__ import annotations

import itertools

import pytest

from bot.generation import Context
from bot.generators.cleaning import clean, names_of
from bot.generators.continuing import grown
from bot.moderation.output_filter import OutputFilter
from tests.rig.thoughts import BARE, CHANNELS, FAMILIES, PAIRS

FILTER = OutputFilter()
CANARY = 'The canary asks about tea. I will answer `x and say "hm.'
ANSWER = "Green tea needs 80 degrees. Black tea needs more."
CODE = "Use this:\n```xml\n{mark}\nhm\n```\nand `{mark}` works."
MENTIONS = (
    "The tag `{mark}` begins it.",
    'It writes "{mark}" first.',
    "It writes \u201c{mark} and more\u201d first.",
    "Er schreibt \u201e{mark}\u201c zuerst.",
    "Il \u00e9crit \u00ab {mark} \u00bb d'abord.",
    "\u5f7c\u306f\u300c{mark}\u300d\u3068\u66f8\u304f\u3002",
    "> {mark}\nThat is what it wrote.",
    CODE,
)
TAGS = [mark for mark in itertools.chain(*PAIRS) if mark[0] in "<[" and mark[1] != "|" and "|>" not in mark]
PLAIN = ("</s>", "<s>", "<think>", "</think>", "<thinking>", "<eos>", "[INST]", "[THINK]", "<reasoning>")
HONEST = (
    "DeepSeek writes <think> before its answer.",
    "Wrap it in <think> and </think>, please.",
    "<think> is a tag of DeepSeek.",
    "It has two tags. <think> is one of them.",
    "Sequences end with </s> in Llama 2.",
    "HTML's <s> strikes text out: <s>old</s> new.",
    "<s>old price</s> new price",
    "It was <s>ten</s> nine, and <s>two</s> three.",
    "\u4f7f\u7528<s>\u6807\u7b7e\u3002",
    "Human: 46",
    "Chromosomes:\nHuman: 46\nDog: 78",
    "Chromosomes:\n\nDog: 78\nHuman: 46",
    "- Human: 46\n- Dog: 78",
    "Lives for:\nHuman: about eighty years\nElephant: sixty",
    "**Human:** 37 degrees\n**Cat:** 38 degrees",
    "System: Windows 11\nCPU: i7",
    "OPERATING SYSTEM: Windows",
    "User: the one who logs in\nPassword: what they type",
    "AI: artificial intelligence\nML: machine learning",
    "Analysis: it works. The final answer is yes.",
    "analysis of tea is fun",
    "Our system: it works.",
    "<answer> is a tag, too.",
    "I think (<think>) so.",
    "The end token is </s>",
    "The token <|endoftext|> ends a text.",
    "1. <think> begins it\n2. </think> ends it",
    "- <think>: begins\n- </think>: ends",
    "* <s>: strikes",
    "**<think>** is the tag.",
    "| tag | meaning |\n|---|---|\n| <s> | strikes |",
    "std::vector<s> v;",
    "Strike: <s>1</s> <s>2</s> <s>3</s>",
    "[thinking] Hmm, tea?",
    "Here are the roles:\n- System: sets rules\n- User: asks\n1. Assistant: answers",
)


@pytest.mark.parametrize("text", HONEST)
def test_a_reply_about_marks_passes_whole(text):
    assert clean(text) == text
    assert FILTER.reason(text) is None


@pytest.mark.parametrize("frame", MENTIONS)
@pytest.mark.parametrize("mark", sorted({*PLAIN, *itertools.chain(*PAIRS), "<|im_end|>", "<|im_start|>"}))
def test_a_mark_in_code_or_quotes_has_no_effect(mark, frame):
    text = frame.format(mark=mark.strip())

    assert clean(text) == text
    assert FILTER.reason(text) is None


@pytest.mark.parametrize("mark", TAGS)
def test_a_tag_within_a_sentence_has_no_effect(mark):
    text = f"The models write {mark} there, and that is all."

    assert clean(text) == text
    assert FILTER.reason(text) is None


@pytest.mark.parametrize(
    "mark", ["</s>", "<|im_end|>", "<eos>", "<end_of_turn>", "<|eot_id|>", "[/INST]", "[e~["]
)
@pytest.mark.parametrize(
    "after", ["", "\n", "\nUser: more", "<s>[INST] more [/INST]", "more", "\n\nHuman: hi"]
)
def test_an_end_mark_ends_the_reply(mark, after):
    assert clean(f"{ANSWER}{mark}{after}") == ANSWER
    assert clean(f"{ANSWER} {mark}{after}") == ANSWER
    assert clean(f"{ANSWER}\n{mark}{after}") == ANSWER


@pytest.mark.parametrize("answer", [ANSWER, "Write `<think>` or `</s>`.", "```html\n<s>a</s>\n```"])
@pytest.mark.parametrize("before", ["", "<|im_start|>assistant\n", "<|assistant|>\n", "<s>"])
@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_thoughts_at_the_start_are_removed(begin, end, before, answer):
    for gap in ("", "\n", "\n\n"):
        thought = f"{begin}{gap}{CANARY}\n- ```py\nx\n{gap}{end}{gap}"

        assert clean(f"{before}{thought}{answer}") == answer
        assert clean(f"{before}{thought}{begin}more{end}{answer}") == answer


@pytest.mark.parametrize(
    "raw",
    [
        "Okay so they say hi. </think> {}",
        "okay they say hi </think>\n\n{}",
        "the greeting is </think>{}",
        "<think>hm</thinking>{}",
        "<think>a<think>b</think>{}",
        "<think>a</think>b</think>{}",
        "<think time=3>hm</think>{}",
        "<|think|>hm<|end|><|begin|>assistant<|content|>{}<|end|>",
        "<start_of_turn>model\n{}<end_of_turn>",
        "assistant\n\n{}",
        "{}<|eot_id|>assistant\n\nmore",
        "{}</s></s></s>",
        "<|channel|>final<|message|>{}",
    ],
)
def test_odd_outputs_are_read(raw):
    assert clean(raw.format(ANSWER)) == ANSWER


@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_thoughts_that_the_prompt_began_are_removed(begin, end):
    if begin.startswith("Here"):
        return  # no prompt begins it
    assert clean(f"{CANARY}\n{end}\n\n{ANSWER}") == ANSWER
    assert clean(f"the canary asks {end.strip()} {ANSWER}", opened=True) == ANSWER
    assert clean(CANARY, opened=True) == ""


@pytest.mark.parametrize("cut_off", [False, True])
@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_thoughts_in_the_middle_and_at_the_end_are_removed(begin, end, cut_off):
    if begin.startswith("Here"):
        return  # this family has no marks, only sentences at the start
    for gap in (" ", "\n"):
        assert clean(f"{ANSWER}{gap}{begin}{CANARY}", cut_off=cut_off) == ANSWER
        middle = clean(f"{ANSWER}{gap}{begin}{CANARY}{end}{gap}So there.", cut_off=cut_off)
        assert middle.split() == [*ANSWER.split(), "So", "there."]


@pytest.mark.parametrize("answer", ["answer", "response", "output", "final_answer"])
def test_the_wrapper_of_an_answer_is_removed(answer):
    assert clean(f"<think>hm</think>\n<{answer}>\n{ANSWER}\n</{answer}>") == ANSWER
    assert clean(f"<think>hm</think><{answer}>{ANSWER}") == ANSWER
    assert clean(f"<{answer}>{ANSWER}</{answer}>") == ANSWER


@pytest.mark.parametrize("raw", [*CHANNELS, *BARE])
def test_only_the_final_channel_is_the_answer(raw):
    assert clean(raw.format(thought=CANARY, answer=ANSWER)) == ANSWER
    unfinished = raw.format(thought=CANARY, answer="\0").partition("\0")[0]
    assert clean(unfinished, cut_off=True) == ""


@pytest.mark.parametrize("family", FAMILIES)
def test_no_thought_shows_while_a_reply_grows(family):
    whole = family.format(thought=CANARY.replace("`", ""), answer=ANSWER)

    for length in range(0, len(whole) + 1, 3):
        assert "canary" not in grown("", whole[:length], cut_off=True), whole[:length]
    assert grown("", whole, cut_off=False) == ANSWER


@pytest.mark.parametrize("honest", [*HONEST[:7], CODE.format(mark="<|im_end|>"), "```html\n<s>a</s>\n```"])
def test_a_reply_about_marks_grows_without_losing_them(honest):
    begun = "Well, here it is."

    texts = [grown(begun, f"\n{honest[:n]}", cut_off=n < len(honest)) for n in range(0, len(honest) + 1)]

    assert texts[-1] == f"{begun}\n{honest}"
    assert all(text.startswith(begun) for text in texts)
    assert [text for text in texts if text not in texts[-1] and not texts[-1].startswith(text[:-1])] == []


@pytest.mark.parametrize(
    ("name", "prefix"),
    list(
        itertools.product(
            [
                "Ada",
                "Ada Lovelace",
                "\u30b7\u30f3\u30d1",
                "R2-D2",
                "C++ (bot)",
                "\u00c9lo\u00efse \U0001f916",
            ],
            [
                "{}: ",
                "**{}:** ",
                "**{}**: ",
                "[{}]: ",
                "<{}> ",
                "@{}: ",
                "{}\uff1a",
                "\n{}:\n",
                '"{}": ',
                "{}: {}: ",
            ],
        )
    ),
)
def test_the_bots_own_name_before_a_reply_is_removed(name, prefix):
    assert clean(prefix.replace("{}", name) + ANSWER, names=(name,)) == ANSWER


@pytest.mark.parametrize(
    ("persona", "name"),
    [
        ("You are Ada, a pirate.", "Ada"),
        ("You are **Ada Lovelace**. Be warm.", "Ada Lovelace"),
        ("Your name is ada.", "ada"),
        ("A pirate named Ada.", "Ada"),
        ("Du bist Ada, eine Piratin.", "Ada"),
        ("Tu es Éloïse, une pirate.", "Éloïse"),
        ("你是小明，一个机器人。", "小明"),
    ],
)
def test_the_names_are_those_of_the_persona_and_of_the_server(persona, name):
    in_server = Context("hi", persona=persona, name="Botty McBotface")

    for own in (name, name.split()[0], "Botty McBotface", "Botty"):
        assert clean(f"{own}: {ANSWER}", names=names_of(in_server, "You are Simpatico.")) == ANSWER
    assert clean(f"Simpatico: {ANSWER}", names=names_of(in_server, "You are Simpatico.")) != ANSWER
    assert names_of(Context("hi"), "You are a helpful bot.") == ("",)


@pytest.mark.parametrize("text", ["Simpatico: hi", "Adam: hi", "Ada is here: hi", "Ada: 36\nBob: 37"])
def test_another_name_stays(text):
    assert clean(text, names=("Ada",)) == text


def test_control_without_quotes_a_mention_is_cut_off(monkeypatch):
    monkeypatch.setattr("bot.generators.marks.masked_in", lambda plain, *_: bytearray(len(plain) + 1))

    assert clean('It writes "<|im_end|>" first.') != 'It writes "<|im_end|>" first.'
