"""Gives a candidate the shape of its style: sentences, length, lists or none, a question at the end.

A small model does not follow an instruction such as "one short sentence". The shape holds whatever the model
writes. A text is cut at the end of a sentence, never inside of code, and at least its first sentence stays.
A style that asks ends with a question: one of the model near its end, else a short one in the language of the
reply. Pure functions.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from bot.generation import ANY_SHAPE, Candidate, Shape, Style
from bot.languages import mark, tr_in
from bot.messages.formats import Formats
from bot.messages.markdown import Kind, parts_of
from bot.messages.sentences import sentence_ends
from personalization.encoding.languages import Language, english, language_of, sure_language_of

QUESTIONS = (
    mark("What do you think?"),
    mark("How does that sound?"),
    mark("Does that help you?"),
    mark("Would you like to hear more?"),
)
"""The questions that are added; the text decides which one, so the same text always gets the same."""

_ITEM = re.compile(r"^[ \t]{0,8}(?:[-*+\u2022]|\d{1,3}[.)])[ \t]+(?=\S)", re.MULTILINE)
_CLAUSE = re.compile(r"[,;:\u2013\u2014\uff0c\u3001\uff1b](?=\s|[\u3040-\u9fff])")
_CONJUNCTION = re.compile(
    r"[ \t](?=(?:and|or|but|because|so|while|which|und|oder|aber|weil|denn|et|ou|mais|car|parce|y|o|pero"
    r"|porque|e|mas|ma|perch\xe9|i|lub|ale|bo|kt\xf3r[aye])[ \t])"
)
"""Where a clause begins in a sentence without marks, in the languages that have blanks between words."""
_LEAST_CLAUSE = 40
"""A shorter beginning of a sentence says too little, characters."""
_QUESTION_MARKS = "?\uff1f\u061f\u037e\u055e\u1367"
_BLOCK = re.compile(r"[ \t]{0,8}(?:[-*+\u2022>|#]|-#|\d{1,3}[.)])")
"""The beginning of a line to which a question must not be added: an item, a quote, a heading, a table."""
_KNOWN_WORDS = 0.26
"""Least share of words that a language knows in a text of it, unless the script or the words are sure signs.

Sentences in Dutch, Swedish, Danish, Czech, Catalan, Turkish, Romanian and Finnish reach .25 of the language
that they are taken for.
"""
_CODE = (Kind.CODE, Kind.DOUBTFUL)
_QUOTE_TO_THE_END = re.compile(r"^>>> ", re.MULTILINE)


def shaped(candidates: Iterable[Candidate], styles: Iterable[Style]) -> list[Candidate]:
    """Return the candidates in the shape of their styles.

    Those that became equal are left out, and so are those with too few sentences beside one with enough.
    """
    shapes: Mapping[str, Shape] = {style.name: style.shape for style in styles}
    found: dict[str, Candidate] = {}
    for one in candidates:
        text = in_shape(one.text, shapes.get(one.style, ANY_SHAPE), finished=not one.unfinished)
        # A draft that was cut is a whole reply: what would follow would be cut, too.
        whole = one if text == one.text else replace(one, text=text, unfinished=False)
        found.setdefault(" ".join(text.casefold().split()), whole)
    return _long_enough(list(found.values()), shapes)


def _long_enough(candidates: list[Candidate], shapes: Mapping[str, Shape]) -> list[Candidate]:
    """Drop the candidates with too few sentences if another whose style asks for several has enough."""
    least = {name: shape.least_sentences for name, shape in shapes.items() if shape.least_sentences}
    judged = [one for one in candidates if one.style in least and not one.unfinished]
    short = [one for one in judged if len(_ends(one.text)) < least[one.style]]
    return candidates if len(short) == len(judged) else [one for one in candidates if one not in short]


def in_shape(text: str, shape: Shape, *, finished: bool = True) -> str:
    """Return the text in its shape; unchanged where it already has it.

    Args:
        text: The text of a candidate.
        shape: Bounds on the text.
        finished: Whether it is a whole reply; only then it is made to end with a question.
    """
    if not shape.lists:
        text = _without_items(text)
    ends = _ends(text)
    if not ends:
        return text
    kept = _within(text, ends, shape.most_sentences or len(ends), shape.most_characters)
    if shape.question and finished:
        return _asking(text, ends, kept, shape)
    return _first(text, ends, kept, shape.most_characters)


def _ends(text: str) -> list[int]:
    """Return the ends of sentences; the last one is the end of the text, also behind a line with a colon."""
    ends, end = sentence_ends(text), len(text.rstrip())
    if ends and not text[ends[-1] : end].strip("|*_~ \n"):
        ends.pop()
    return [*ends, end] if end else []


def _within(text: str, ends: Sequence[int], most: int, most_characters: int) -> Sequence[int]:
    """Return the ends of the sentences that fit both bounds, at least of the first one."""
    kept = ends[:most]
    if most_characters:
        fitting = sum(length <= most_characters for length in _prose_lengths(text, kept))
        kept = kept[: max(1, fitting)]
    return kept


def _first(text: str, ends: Sequence[int], kept: Sequence[int], most: int) -> str:
    """Return the kept sentences; of a single one that is longer than ``most`` characters, its clauses."""
    if len(kept) == 1 and 0 < most < _prose_lengths(text, kept)[0]:
        return _first_clauses(text, kept[0], most)
    return text if kept[-1] == ends[-1] else _cut(text, kept[-1])


def _asking(text: str, ends: Sequence[int], kept: Sequence[int], shape: Shape) -> str:
    """Return the kept sentences so that they end with a question."""
    language = language_of(text)
    start = [0, *kept]
    last = len(kept) - 1
    # An earlier question is mostly answered by what follows, and the first sentence alone says too little.
    for n in (last, last - 1):
        may_end = n == last or n >= max(1, shape.least_sentences - 1)
        if may_end and _asks(text[start[n] : kept[n]], language):
            asked = _first(text, ends, kept[: n + 1], shape.most_characters)
            if _asks(asked, language):
                return asked
    unasked = _first(text, ends, kept, shape.most_characters)
    language = language_of(unasked)  # what is left may be in another language than the whole
    name = _name_of(language, unasked)
    if name is None or shape.most_sentences == 1:
        return unasked
    question = tr_in(name, QUESTIONS[crc32(text[: kept[0]].encode(errors="surrogatepass")) % len(QUESTIONS)])
    most = shape.most_characters and max(1, shape.most_characters - len(question) - 1)
    most_sentences = (shape.most_sentences or len(ends) + 1) - 1
    before = _first(text, ends, _within(text, ends, most_sentences, most), most).rstrip()
    if before.endswith("```") or any(p.kind in _CODE and p.end >= len(before) for p in parts_of(before)):
        return unasked
    if _QUOTE_TO_THE_END.search(before):  # the rest of the message is the quotation
        return unasked
    return before + _between(before, joined=language is not None and language.joined) + question


def _between(before: str, *, joined: bool) -> str:
    """Return what separates a text from the question behind it."""
    line = before[before.rfind("\n") + 1 :]
    if before[-1].isalnum() or before[-1] in ",;:-" or _BLOCK.match(line):
        return "\n"
    return "" if joined else " "


def _name_of(language: Language | None, text: str) -> str | None:
    """Return the name of a language; None if the text may be in one that the bot does not speak."""
    one = language or english()
    if not one.has_case or sure_language_of(text) == one.name:
        return one.name
    words = one.words(text.lower())
    known = sum(word in one.known for word in words)
    return one.name if words and known >= _KNOWN_WORDS * len(words) else None


def _cut(text: str, end: int) -> str:
    """Return the text up to a position; closes what is open there, so that a spoiler stays hidden."""
    code = [(part.start, part.end) for part in parts_of(text) if part.kind is Kind.CODE]
    cut = [one for one in Formats(text, code).open_at(end - 1) if one.end > end]
    return text[:end].rstrip() + "".join(one.closing for one in reversed(cut))


def _first_clauses(text: str, end: int, most: int) -> str:
    """Return the clauses of a long first sentence that fit; the whole if none does, or if it holds code."""
    sentence = text[:end].rstrip()
    for beginning in (_CLAUSE, _CONJUNCTION):
        clauses = [match.start() for match in beginning.finditer(sentence, _LEAST_CLAUSE, most)]
        if clauses:
            break
    if parts_of(sentence) or not clauses:
        return _cut(text, end)
    return f"{_cut(text, clauses[-1])}."


def _asks(sentence: str, language: Language | None) -> bool:
    """Return whether a question mark, or its like in this language, ends a sentence."""
    if language is not None:
        sentence = language.plain(sentence)
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
    for part in [part for part in parts_of(text) if part.kind in _CODE]:
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
