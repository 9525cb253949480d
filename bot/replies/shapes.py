"""Gives a candidate the shape of its style: sentences, length, lists or none, a question at the end.

A small model does not follow an instruction such as "one short sentence". The shape holds whatever the model
writes. A text is cut at the end of a sentence, never inside of code, and at least its first sentence stays.
Pure functions.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bot.generation import ANY_SHAPE, Candidate, Shape, Style
from bot.messages.formats import Formats
from bot.messages.markdown import Kind, parts_of
from bot.messages.sentences import sentence_ends

_ITEM = re.compile(r"^[ \t]{0,8}(?:[-*+\u2022]|\d{1,3}[.)])[ \t]+(?=\S)", re.MULTILINE)
_CLAUSE = re.compile(r"[,;:\u2013\u2014\uff0c\u3001\uff1b](?=\s|[\u3040-\u9fff])")
_LEAST_CLAUSE = 40
"""A shorter beginning of a sentence says too little, characters."""
_QUESTION_MARKS = "?\uff1f\u061f\u037e\u055e\u1367"


def shaped(candidates: Iterable[Candidate], styles: Iterable[Style]) -> list[Candidate]:
    """Return the candidates in the shape of their styles, without those that became equal."""
    shapes: Mapping[str, Shape] = {style.name: style.shape for style in styles}
    found: dict[str, Candidate] = {}
    for one in candidates:
        text = in_shape(one.text, shapes.get(one.style, ANY_SHAPE))
        # A draft that was cut is a whole reply: what would follow would be cut, too.
        whole = one if text == one.text else replace(one, text=text, unfinished=False)
        found.setdefault(" ".join(text.casefold().split()), whole)
    return list(found.values())


def in_shape(text: str, shape: Shape) -> str:
    """Return the text, cut to its shape; unchanged where it already has it."""
    if not shape.lists:
        text = _without_items(text)
    ends = sentence_ends(text)
    if not ends:
        return text
    kept = ends[: shape.most_sentences or len(ends)]
    if shape.most_characters:
        lengths = _prose_lengths(text, kept)
        kept = kept[: max(1, sum(length <= shape.most_characters for length in lengths))]
    if shape.question:
        start = [0, *kept]
        asks = [n for n in range(len(kept)) if _asks(text[start[n] : kept[n]])]
        kept = kept[: asks[-1] + 1] if asks else kept
    if len(kept) == 1 and 0 < shape.most_characters < _prose_lengths(text, kept)[0]:
        return _first_clauses(text, kept[0], shape.most_characters)
    return text if kept[-1] == ends[-1] and not text[ends[-1] :].strip() else _cut(text, kept[-1])


def _cut(text: str, end: int) -> str:
    """Return the text up to a position; closes what is open there, so that a spoiler stays hidden."""
    code = [(part.start, part.end) for part in parts_of(text) if part.kind is Kind.CODE]
    cut = [one for one in Formats(text, code).open_at(end - 1) if one.end > end]
    return text[:end].rstrip() + "".join(one.closing for one in reversed(cut))


def _first_clauses(text: str, end: int, most: int) -> str:
    """Return the clauses of a long first sentence that fit; the whole if none does, or if it holds code."""
    sentence = text[:end].rstrip()
    clauses = [match.start() for match in _CLAUSE.finditer(sentence, _LEAST_CLAUSE, most)]
    if parts_of(sentence) or not clauses:
        return _cut(text, end)
    return f"{_cut(text, clauses[-1])}."


def _asks(sentence: str) -> bool:
    """Return whether a question mark stands behind the last letter or digit of a sentence."""
    behind = itertools.takewhile(lambda char: not char.isalnum(), reversed(sentence))
    return any(char in _QUESTION_MARKS for char in behind)


def _prose_lengths(text: str, ends: Sequence[int]) -> list[int]:
    """Return the number of characters outside of code up to each of these ends, which are in order."""
    code = [part for part in parts_of(text) if part.kind is Kind.CODE]
    n_code = at = 0
    begin = len(text) - len(text.lstrip())
    lengths: list[int] = []
    for end in ends:
        while at < len(code) and code[at].end <= end:
            n_code += code[at].end - code[at].start
            at += 1
        last = end
        while last > begin and text[last - 1].isspace():
            last -= 1
        lengths.append(last - begin - n_code)
    return lengths


def _without_items(text: str) -> str:
    """Join the items of lists into running text; code stays as it is."""
    pieces, last = [], 0
    for part in [part for part in parts_of(text) if part.kind in (Kind.CODE, Kind.DOUBTFUL)]:
        pieces += [_joined(text, last, part.start), text[part.start : part.end]]
        last = part.end
    joined = "".join([*pieces, _joined(text, last, len(text))])
    ends_with_item = last < len(text) and _ITEM.match(text[text.rfind("\n") + 1 :]) is not None
    return f"{joined}." if ends_with_item and joined[-1:].isalnum() else joined


def _joined(text: str, start: int, end: int) -> str:
    """Return the prose between two parts of code with its items joined; blanks beside the code stay."""
    items = _ITEM.finditer(text, start, end)  # by positions, so that only a line of the text begins an item
    edges = [start, *(edge for item in items for edge in item.span()), end]
    if len(edges) == 2:
        return text[start:end]
    prose = "".join(text[edges[n] : edges[n + 1]] for n in range(0, len(edges), 2))
    lines = [line.strip() for line in prose.split("\n")]
    ended = [line if not line or line[-1] in ".!?:;,\u2026\u3002" else f"{line}." for line in lines[:-1]]
    joined = " ".join(line for line in [*ended, lines[-1]] if line)
    before = " " if start and prose[:1].isspace() else ""
    return before + joined + (" " if joined and end < len(text) and prose[-1:].isspace() else "")
