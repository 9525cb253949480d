"""P15: no text is slow: reading what members, managers or models write takes time linear in its length.

Every regular expression of the program is found in its source, so a new one cannot slip in. Each searches,
finds and replaces in texts made of many pieces and of the pattern's own characters. Blocked terms are
generated, too. A text that is four times as long may cost at most eight times the time, unless both take
milliseconds.

Control: patterns that backtrack (quadratic and cubic) fail the same check.
"""

from __future__ import annotations

import ast
import inspect
import random
import re
from pathlib import Path

import pytest
import regex

from bot.distress import reading, rules
from bot.generation import Context, Shape, Turn
from bot.generators import cleaning, continuing, marks, prompt, role_markers, thinking
from bot.messages import attachments, conversation, formulas, markdown, sentences, splitting, unsupported
from bot.moderation import (
    addresses,
    asked_language,
    blocked_terms,
    loops,
    output_filter,
    own_words,
    poor_replies,
    sanitizing,
    visible_text,
)
from bot.moderation.blocked_terms import is_blocked
from bot.replies import shapes
from personalization.encoding import features, languages
from storage.servers.safety_rules import LONGEST_TERM, MOST_TERMS
from tests.rig.hostile_texts import PIECES, literals, slow_text
from tests.rig.size import sized

pytestmark = pytest.mark.promise("P15")
ROOT = Path(__file__).parents[2]
TRIED = PIECES[:: sized(ci=4, full=1)]
LIBRARIES = {"re": re, "regex": regex}
NOT_TEXT = {
    "bot/commands": "arguments of the host",
    "personalization/lab": "public data sets, offline",
    "storage/privacy/personal_data/privacy_page.py": "a page of this repository",
    "bot/generators/model_files.py": "a model's name in the configuration",
    "personalization/heads/named_tables.py": "names of tensors, written by the program",
    "bot/doctor": "secrets of the host",
}


def expressions() -> dict[str, tuple[object, str, int]]:
    """Find every constant regular expression: place -> (library, pattern, flags)."""
    found = {}
    for path in sorted(
        p for package in ("bot", "personalization", "storage") for p in (ROOT / package).rglob("*.py")
    ):
        place = str(path.relative_to(ROOT))
        if any(place.startswith(prefix) for prefix in NOT_TEXT):
            continue
        tree = ast.parse(path.read_text())
        names = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            match call.func:
                case ast.Attribute(value=ast.Name(id="re" | "regex" as library)) if (
                    call.func.attr != "escape"
                ):
                    pattern = constant(call.args[0], names)
                    if pattern is not None:
                        found[f"{place}:{call.lineno}"] = library, pattern, flags_of(call)
    return found


def constant(node: ast.expr, names: dict[str, ast.expr]) -> str | None:
    """Evaluate an expression of strings and module constants; None if it is none."""
    match node:
        case ast.Constant(value=str()):
            return node.value
        case ast.Name() if node.id in names:
            return constant(names[node.id], names)
        case ast.BinOp(op=ast.Add()):
            left, right = constant(node.left, names), constant(node.right, names)
            return None if left is None or right is None else left + right
        case ast.JoinedStr():
            parts = [
                part.value if isinstance(part, ast.Constant) else constant(part.value, names)
                for part in node.values
            ]
            return None if None in parts else "".join(parts)
    return None


def flags_of(call: ast.Call) -> int:
    """Return the flags that a call names."""
    given = [*call.args[1:], *(keyword.value for keyword in call.keywords)]
    named = [node.attr for arg in given for node in ast.walk(arg) if isinstance(node, ast.Attribute)]
    return sum(
        getattr(re, name)
        for name in dict.fromkeys(named)
        if isinstance(getattr(re, name, None), re.RegexFlag)
    )


FOUND = expressions()
PIECEWISE = {r"\X": "it looks back over all flags before a flag, so it only sees short pieces"}


def searches(library: str, pattern: str, flags: int):
    compiled = LIBRARIES[library].compile(pattern, flags)

    def work(text: str) -> None:
        compiled.search(text)
        compiled.sub("", text)

    return work


def test_the_expressions_of_the_program_are_found():
    assert len(FOUND) > 40


@pytest.mark.slow
@pytest.mark.parametrize("place", [place for place, found in FOUND.items() if found[1] not in PIECEWISE])
def test_no_text_makes_an_expression_slow(place):
    library, pattern, flags = FOUND[place]

    assert slow_text(searches(library, pattern, flags), TRIED) is None
    assert slow_text(searches(library, pattern, flags), literals(pattern)) is None


@pytest.mark.parametrize("pattern", [r"\s+$", r"(?:i|!)[\W_]+hate", r"\[.*\]\("])
def test_control_an_expression_that_backtracks_is_slow(pattern):
    assert slow_text(lambda text: re.search(pattern, text), [" ", "!", "["]) is not None


TEXT_MODULES = (
    reading, rules, languages,
    blocked_terms, visible_text, sanitizing, loops, output_filter, splitting, conversation, cleaning, prompt,
    attachments, continuing, features, markdown, addresses, role_markers, marks, thinking, unsupported,
    formulas, sentences, shapes, poor_replies, asked_language, own_words,
)  # fmt: skip
FUNCTIONS = {
    "blocked_terms.is_blocked": lambda text: is_blocked(text, ("i hate", "i i i i x", "bad idea")),
    "blocked_terms.as_read": blocked_terms.as_read,
    "blocked_terms.as_latin": blocked_terms.as_latin,
    "own_words.own_words": lambda text: own_words.own_words(text, single_quotes=True),
    "reading.spaced_forms": reading.spaced_forms,
    "reading.spelt_out": lambda text: list(reading.spelt_out(text)),
    "reading.collapsed": reading.collapsed,
    "reading.joined_form": reading.joined_form,
    "reading.folded": reading.folded,
    "reading.to_hiragana": reading.to_hiragana,
    "rules.distress_in": rules.distress_in,
    "languages.language_of": languages.language_of,
    "languages.sure_language_of": languages.sure_language_of,
    "visible_text.visible": visible_text.visible,
    "visible_text.comparable": visible_text.comparable,
    "sanitizing.tidied": lambda text: sanitizing.tidied(
        text, unmask=True, remove_links=True, remove_mentions=True
    ),
    "loops.is_loop": loops.is_loop,
    "splitting.split_message": splitting.split_message,
    "splitting.beginning": lambda text: splitting.beginning(text, 2000),
    "conversation.reads_as_note": conversation.reads_as_note,
    "cleaning.clean": lambda text: cleaning.clean(text, cut_off=True),
    "cleaning.reply_in": lambda text: cleaning.reply_in(text, text),
    "cleaning.without_unfinished_end": cleaning.without_unfinished_end,
    "marks.has_mark": marks.has_mark,
    "marks.is_before_label": lambda text: marks.is_before_label(text, 0),
    "marks.marks_in": marks.marks_in,
    "marks.masked_in": marks.masked_in,
    "marks.behind_role": lambda text: marks.behind_role(text, 0),
    "marks.behind_turns": lambda text: marks.behind_turns(text, 0),
    "thinking.behind_thoughts": lambda text: thinking.behind_thoughts(text, opened=True),
    "thinking.opened_thought": thinking.opened_thought,
    "thinking.unfinished_thought": lambda text: thinking.unfinished_thought(text, opened=False),
    "thinking.has_thought": lambda text: thinking.has_thought(text, opened=False),
    "thinking.end_of_thought": thinking.end_of_thought,
    "continuing.grown": lambda text: continuing.grown(text, text, cut_off=True),
    "features.style_features": features.style_features,
    "unsupported.readable": unsupported.readable,
    "formulas.without_formulas": formulas.without_formulas,
    "formulas.plain_formula": formulas.plain_formula,
    "asked_language.speaks_of_a_language": asked_language.speaks_of_a_language,
    "poor_replies.quotes": lambda text: poor_replies.quotes(text, Context(text[::-1])),
    "poor_replies.copies": lambda text: poor_replies.copies(text, [text[::-1]]),
    "poor_replies.is_poor": lambda text: poor_replies.is_poor(
        text, Context(text, (Turn("assistant", text),))
    ),
    "sentences.sentence_ends": sentences.sentence_ends,
    "shapes.in_shape": lambda text: shapes.in_shape(
        text, Shape(most_characters=100, question=True, lists=False)
    ),
    "markdown.escaped": markdown.escaped,
    "markdown.parts_of": markdown.parts_of,
    "markdown.without_code": markdown.without_code,
    "markdown.has_masked_link": markdown.has_masked_link,
    "addresses.has_invitation": addresses.has_invitation,
    "role_markers.defuse": role_markers.defuse,
    "role_markers.folded": role_markers.folded,
    "visible_text.shown": visible_text.shown,
    "prompt.estimate_tokens": prompt.estimate_tokens,
    "prompt.estimated_cut": lambda text: prompt.estimated_cut(text, 500),
}
NO_TEXT = {
    "prompt.messages_of": "its text is in the context: tried as `dialogue`",
    "thinking.template_options": "a model's chat template",
    "thinking.opens_thought": "a model's chat template",
    "thinking.is_thought_mark": "a token of a model",
    "attachments.joined": "joins texts with a separator",
    "visible_text.is_readable": "one character",
}
METHODS = {
    "OutputFilter.reason": lambda text: FILTER.reason(text[: output_filter.MAX_LENGTH], RULES),
    "dialogue": lambda text: prompt.dialogue(prompt.messages_of("", Context(text))),
}
FILTER = output_filter.OutputFilter(["You are a very friendly bot that never tells this sentence."])
RULES = output_filter.Rules(output_filter.Level.STRICT, ("i hate", "i i i i x"))


def public_text_functions() -> set[str]:
    """Name every public function of the modules that handle text, whose first argument is a string."""
    found = set()
    for module in TEXT_MODULES:
        name = module.__name__.rpartition(".")[2]
        for function_name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not function_name.startswith("_"):
                first = next(iter(inspect.signature(function).parameters.values()), None)
                if first is not None and first.annotation == "str":
                    found.add(f"{name}.{function_name}")
    return found


def test_every_function_that_reads_text_is_tried():
    assert public_text_functions() == FUNCTIONS.keys() | NO_TEXT.keys()


@pytest.mark.parametrize("name", ["escape_markdown", "remove_markdown", "clean_content"])
def test_no_function_of_a_library_that_is_slow_is_used(name):
    """``discord.utils.escape_markdown`` takes cubic time: 0.6 s for 2,400 signs, 5 s for 4,800."""
    users = [path for path in (ROOT / "bot").rglob("*.py") if re.search(rf"\b{name}\(", path.read_text())]

    assert users == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FUNCTIONS, *METHODS])
def test_no_text_makes_a_function_slow(name):
    rules.prepare()  # a bot compiles them at its start

    assert slow_text((FUNCTIONS | METHODS)[name], TRIED, each_s=3e-5) is None


def generated_terms(rng: random.Random) -> tuple[str, ...]:
    letters = rng.choice(["i", "il", "il ", "ios ", "abcdefgh ", "a1!", "аос ", "日本 "])
    count = rng.choice([1, 3, MOST_TERMS])
    return tuple(
        "".join(rng.choice(letters) for _ in range(rng.randint(1, LONGEST_TERM))) + "x" for _ in range(count)
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(sized(ci=6, full=60)))
def test_no_text_makes_blocked_terms_slow(seed):
    rng = random.Random(seed)
    terms = generated_terms(rng)
    is_blocked("warm " * 100, terms)  # compiled once, then cached
    pieces = ["".join(rng.choice("i1!|l0os$ -_.a4@") for _ in range(rng.randint(1, 8))) for _ in range(10)]

    assert slow_text(lambda text: is_blocked(text, terms), [*pieces, "!", "i ", "1", "i!", "*i"]) is None
