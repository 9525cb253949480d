"""Table of the marks of chat models: thoughts, answers, turns. Decides which marks in a reply have an effect.

Model families write their thoughts, the wrapper of their answer and the end of their turn in different marks.
The tables hold them all; a new family is one more row. Prompts (:mod:`bot.generators.role_markers`), replies
(:mod:`bot.generators.cleaning`) and the output filter use the same tables.

A reply may also be about marks ("the tag <s> strikes text out"). So a mark has an effect only where a model
would write it: at the start of the text, of a line or of a sentence, directly behind a word, or at the end.
In code and in quotes it has none. Linear in the text: no pattern repeats without a bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.messages.markdown import Kind, parts_of

_THINKING = (
    r"(?:(?!end|start|begin|stop|of)[a-z]{2,12}[:_])?(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratchpad|analysis|cot"
    r"|chain[_-]of[_-]thought|inner[_-](?:monologue|thoughts?)|internal[_-](?:monologue|thoughts?))"
)
_ANSWER = r"answer|response|output|solution|final(?:[_-](?:answer|response|output))?"

THOUGHTS = (
    (rf"<(?:{_THINKING})>", rf"</(?:{_THINKING})>"),  # DeepSeek, Qwen, Seed, LongCat, EXAONE, Marco, prompts
    (r"\[THINK\]", r"\[/THINK\]"),  # Mistral
    (rf"\u25c1(?:{_THINKING})\u25b7", rf"\u25c1/(?:{_THINKING})\u25b7"),  # Kimi
    (
        rf"<\|(?:(?:start|begin)_(?:of_)?)?(?:{_THINKING})(?:_(?:start|begin))?\|>",
        rf"<\|(?:(?:/|end_(?:of_)?)(?:{_THINKING})|(?:{_THINKING})_end)\|>"
        r"|<\|end\|><\|begin\|>assistant(?=<\|content\|>)",
    ),  # Command A, Sky, OpenThinker, Solar
    (r"<\|inner_prefix\|>", r"<\|inner_suffix\|>"),  # Apertus
    (r"<\|channel>[ \t]{0,2}(?:thought|analysis)", r"<channel\|>"),  # Gemma 4
    (r"<(?:unused|ctrl)94>(?:thought)?", r"<(?:unused|ctrl)95>"),  # MedGemma
    (r"Here(?:'s| is) my thought process:", r"\nHere(?:'s| is) my response:"),  # Granite
)
"""How a thought begins and ends, one row for each way of writing it."""

ANSWERS = ((rf"<(?:{_ANSWER})>", rf"</(?:{_ANSWER})>"),)  # Hunyuan, ERNIE, Granite, Marco
"""How an answer behind a thought begins and ends. Wrappers with bars are signs of turns."""

SPEAKERS = r"system|user|assistant|human|instruction|response"
_NAMES = (
    r"s|bos|eos|sop|eop|eoa|eoh|eod|tool_call|tool_calls|tool_response|function_calls?"
    r"|(?:start|end)_of_(?:turn|role|image|audio)|(?:begin|end)_of_(?:text|sentence)|seed:[a-z_]{1,20}"
    r"|minimax:[a-z_]{1,20}|reserved_\d{1,4}|special_\d{1,4}|extra_(?:id_)?\d{1,3}"
    r"|_(?:user|bot|system|start|end)|\u7528\u6237"
)
_WORDS = r"inst|system_prompt|available_tools|tool_calls|tool_results|tool_content|model_settings|[gs]mask"
_SIGNS = (
    r"<\|[^\s|<>]{1,40}(?:\|>|>)"  # ChatML, Llama 3, GLM, Phi, Command R, Kimi, harmony, Granite, DeepSeek
    r"|<[a-z_]{1,40}\|>"  # Gemma
    r"|\[\|[^\s|\[\]]{1,40}\|\]"  # EXAONE
    r"|\]~!?b[\[\]]|\[e~\["  # MiniMax
    r"|\[unused\d{1,3}\]"  # Pangu
    r"|<</?sys>>"  # Llama 2
    r"|\u25c1/?[a-z]{1,20}\u25b7"  # Kimi-VL
)
_TAGS = rf"\[/?(?:{_WORDS}|think)\]|</?(?:{_NAMES}|think|thinking)>"  # Mistral, ChatGLM, Llama 2, Gemma, Qwen
TURNS = rf"{_SIGNS}|{_TAGS}"
"""How a turn begins and ends."""
LOUD = r"(?:USER|ASSISTANT|HUMAN|SYSTEM)[ \t]{0,3}:"
LEFT = r"(?<![^\s>*_#\"'(\[])"  # after a space, or a sign that begins a word

_ROWS = (*THOUGHTS, *ANSWERS)
MARK = re.compile(
    "|".join(f"(?P<open{i}>{begin})|(?P<close{i}>{end})" for i, (begin, end) in enumerate(_ROWS))
    + rf"|(?P<sign>{_SIGNS})|(?P<tag>{_TAGS})"
    rf"|(?P<speaker>\#{{2,4}}[ \t]{{0,3}}(?:{SPEAKERS})[ \t]{{0,3}}:|{LEFT}(?-i:{LOUD}))"
    r"|^(?P<line>[^\w\n]{0,6}(?:user|human|assistant|system)[^\w\n]{0,4}:)",
    re.IGNORECASE | re.MULTILINE,
)
MENTIONED = re.compile(
    r"[ \t]{1,3}(?:tags?|tokens?|elements?|marks?|markers?|blocks?|is|are|was|means?|stands|ist|sind|bedeutet"
    r"|est|sont|es|son|\u00e9|s\u00e3o|significa)\b"
)
_MENTIONING = re.compile(
    r"\b(?:tokens?|tags?|marks?|markers?|symbols?|called|is|are|and|or|with|by|uses?|types?|writes?|ist|und|mit"
    r"|balises?|est|et|avec|etiquetas?|es|y|con|e|com)[ \t]{1,3}\Z",
    re.IGNORECASE,
)
_ITEM_BEGINS = re.compile(r"[ \t]{0,4}(?:\d{1,3}[.)]|[-*+\u2022])[ \t]{1,3}")
_QUOTED = re.compile(
    r"(?<!\w)\"(?=\S)[^\n\"]{1,300}(?<=\S)\"(?!\w)|(?<!\w)'(?=\S)[^\n']{1,300}(?<=\S)'(?!\w)"
    r"|\u201c[^\n\u201d]{1,300}\u201d|\u201e[^\n\u201c\u201d]{1,300}[\u201c\u201d]"
    r"|\u2018[^\n\u2019]{1,300}\u2019|\u00ab[^\n\u00bb]{1,300}\u00bb|\u00bb[^\n\u00ab]{1,300}\u00ab"
    r"|\u300c[^\n\u300d]{1,300}\u300d|\u300e[^\n\u300f]{1,300}\u300f|\u2039[^\n\u203a]{1,300}\u203a"
    r"|^[ \t]{0,8}>[^\n]*+",
    re.MULTILINE,
)
OPENING = frozenset("([{<=/&+|\"'`\u201c\u201d\u201e\u2018\u00ab\u00bb\u300c\u300e\u2039")
_GOES_ON = frozenset(",;:-\u2013\u2014\u3001\uff0c")
"""After these signs and after a word a sentence goes on."""
_LABEL = re.compile(r"[^\w\n]{0,6}(?!(?:user|human|assistant|system)\b)\w[^\n:]{0,40}:", re.IGNORECASE)
_FIGURE = re.compile(r"[^\w\n]{0,6}\d")
_ITEM = re.compile(r"[ \t]{0,8}(?:[-+\u2022\u2013\u00b7|]|\*[ \t])")
_ROLE = re.compile(r"[ \t]{0,3}(?:assistant\b|(?:model|bot)(?=[ \t]{0,3}\n))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark outside of code and quotes.

    Attributes:
        kind: Group of :data:`_MARK` without its number.
        row: Row of the tables of thoughts and answers; -1: none.
        acts: Whether it has an effect.
    """

    start: int
    end: int
    kind: str
    row: int
    acts: bool

    @property
    def wraps(self) -> bool:
        """Whether it is a tag around an answer, which has an effect only behind a thought."""
        return self.row >= len(THOUGHTS)


def has_mark(plain: str) -> bool:
    """Return whether a mark of thoughts or turns has an effect in a text, which is already folded."""
    return any(mark.acts and not mark.wraps for mark in marks_in(plain))


def behind_turns(plain: str, position: int) -> int:
    """Return where the text goes on behind white space and the marks that begin a turn."""
    while True:
        while position < len(plain) and plain[position].isspace():
            position += 1
        mark = MARK.match(plain, position)
        if mark is None or kind_of(mark)[0] not in ("sign", "tag"):
            return position
        position = behind_role(plain, mark.end())


def kind_of(match: re.Match[str]) -> tuple[str, int]:
    """Return the group of :data:`MARK` without its number, and the number; -1: it has none."""
    group = match.lastgroup or ""
    kind = group.rstrip("0123456789")
    return kind, int(group[len(kind) :] or -1)


def behind_role(plain: str, position: int) -> int:
    """Return where the text goes on behind the role that follows the mark of a turn, if it is the model's."""
    role = _ROLE.match(plain, position)
    return role.end() if role else position


def marks_in(plain: str, *, fences_only: bool = False) -> list[Mark]:
    """Return the marks outside of code and quotes, in order.

    A mark whose beginning is only mentioned has no effect at its end: HTML's ``<s>`` and ``</s>`` in a line.

    Args:
        plain: The text, folded.
        fences_only: Whether quotes and code within a line count as text, which a thought may leave open.
    """
    if MARK.search(plain) is None:
        return []
    masked, found, mentioned, struck = masked_in(plain, fences_only), list[Mark](), set[int](), -1
    for match in MARK.finditer(plain):
        if masked[match.start()] or (match.lastgroup == "line" and masked[match.end() - 1]):
            continue
        kind, row = kind_of(match)
        acts = _acts(plain, match, kind)
        word = match.group().casefold()
        if kind == "open":
            (mentioned.discard if acts else mentioned.add)(row)
        elif kind == "close" and row in mentioned:
            acts &= plain[match.start() - 1] == "\n" and plain[match.end() : match.end() + 1] in ("\n", "")
            mentioned.discard(row)
        elif word == "<s>":
            struck = len(found)
        elif word == "</s>" and struck >= 0:
            begin = found[struck]
            whole = begin.start < 4 and len(plain) - match.end() < 4
            if not whole and "\n" not in plain[begin.end : match.start()]:
                found[struck] = Mark(begin.start, begin.end, begin.kind, begin.row, False)
                acts = False
            struck = -1
        elif word == "[/inst]":
            acts |= any(one.acts and plain.startswith("[", one.start) for one in found[:4])
        found.append(Mark(match.start(), match.end(), kind, row, acts))
    return found


def _acts(plain: str, match: re.Match[str], kind: str) -> bool:
    """Return whether a mark stands where a model writes it, rather than in a sentence about it."""
    start, end = match.span()
    before, after = plain[max(0, start - 8) : start], plain[end : end + 8]
    at_end = end + 8 >= len(plain) and not after.strip()
    answers = kind == "close" and (after[:1] == "\n" or after[:1].isalnum())
    if kind != "line" and not answers and _MENTIONING.search(plain[max(0, start - 16) : start]):
        return False
    if kind == "sign":
        return not (at_end and before[-1:] in OPENING and before[-1:] in "\"'`")
    if match.group().lstrip("\n").startswith("Here"):
        return False  # a sentence, which only begins a thought at the start of a text
    if kind not in ("line", "speaker", "sign") and _ITEM_BEGINS.fullmatch(before.rpartition("\n")[2]):
        return False
    last = before.rstrip(" \t")
    first = not last or last[-1] == "\n"
    if kind == "line" or (kind == "speaker" and first and plain[start] != "#"):
        return not _is_label(plain, start, end)
    if not first and last[-1] in OPENING and kind != "speaker":
        return False
    if MENTIONED.match(plain, end) and kind != "speaker":
        return False
    if before[-1:] in ("*", "_") and after[:1] == before[-1:] and kind != "speaker":
        return False
    if first or (at_end and kind != "open") or answers:
        return True
    if match.group() == "<s>" and before[-1:].isalnum():
        return False  # a<s>b
    if last == before:  # directly behind a word; scripts without spaces mention a mark so, too
        return last[-1] < "\u3040" or after[:1] < "\u3040"
    return not last[-1].isalnum() and last[-1] not in _GOES_ON


def _is_label(plain: str, start: int, end: int) -> bool:
    """Return whether a line that begins with a speaker is one of a list of labels, as "Human: 46" is."""
    if _ITEM.match(plain, start) or _FIGURE.match(plain, end):
        return True
    if is_before_label(plain, end):
        return True
    line_end = _line_end(plain, end)
    if plain[max(end, line_end - 3) : line_end].rstrip("*_ ").endswith((".", "!", "?", "\u2026")):
        return False
    earlier = plain.rfind("\n", 0, start) if start else -1
    while earlier > max(0, start - 3) and plain[earlier - 1] == "\n":
        earlier -= 1
    if earlier < 0:
        return False
    before = plain.rfind("\n", max(0, earlier - 200), earlier) + 1
    line = plain[before:earlier]
    return line.rstrip("*_ ").endswith(":") or _LABEL.match(line) is not None


def is_before_label(plain: str, position: int) -> bool:
    """Return whether the line after the one at a position begins with a label, which names no speaker."""
    following = line_end = _line_end(plain, position)
    while following < min(len(plain), line_end + 2) and plain[following] == "\n":
        following += 1
    return following > line_end and _LABEL.match(plain, following) is not None


def _line_end(plain: str, position: int) -> int:
    found = plain.find("\n", position, position + 2000)
    return min(len(plain), position + 2000) if found < 0 else found


def masked_in(plain: str, fences_only: bool = False) -> bytearray:
    """Return for each character whether it is in code or in quotes."""
    masked = bytearray(len(plain) + 1)
    for part in parts_of(plain):
        if part.kind in (Kind.CODE, Kind.DOUBTFUL) and (
            not fences_only or plain.startswith("```", part.start)
        ):
            masked[part.start : part.end] = b"\1" * (part.end - part.start)
    if not fences_only:
        for quoted in _QUOTED.finditer(plain):
            masked[quoted.start() : quoted.end()] = b"\1" * (quoted.end() - quoted.start())
    return masked
