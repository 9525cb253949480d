"""Turns raw model output into candidates.

Shared by all generators. Removes what models add around a reply (role names, reasoning, lines of the next
speaker), a sentence that the token limit cut off, and blank or repeated candidates. Whether a candidate may
be posted is decided later, in ``bot/moderation/output_filter.py``. The marks of all model families are in
:mod:`bot.generators.marks`. Every pattern is linear in the length of the text: possessive quantifiers
(``++``) never backtrack, and a run is tried only from its first character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import regex

from bot.generation import Candidate, Context, GeneratorError, OnlyThoughts
from bot.generators.marks import behind_role, is_before_label, marks_in, masked_in
from bot.generators.role_markers import folded
from bot.generators.thinking import behind_thoughts

# \X: between two characters that are no space, the match must end with a grapheme cluster.
_SENTENCE_END = regex.compile(
    r"(?<![.!?…])(?<!\n\d)(?<!\A\d)[.!?…]++[\"'”’)\]*_~]*+(?=\s|\Z)"
    r"|(?:(?=[。！？])\X)++(?:(?=[」』”’）])\X)*+|\n"
)
_EMPTY_ITEM = re.compile(r"[ \t]{0,8}(?:[-*•]|\d{1,3}[.)])[ \t]*+")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


_OWN = re.compile(r"(?:assistant|response)\W*+\Z", re.IGNORECASE)
_ROLE_NAMES = "assistant|ai|bot|reply|response|answer"
_LONGEST_NAME = 64
_NAMED = re.compile(
    r"(?:\b(?i:Your name is|named|called|Du hei\u00dft|Tu t'appelles|Te llamas|Se chama|Ti chiami)"
    r"|\b(?:You are|You're|I am|You play|Du bist|Tu es|Eres|Voc\u00ea \u00e9|Sei|Jeste\u015b)"
    r"(?=\W{1,4}[^\W\d_a-z])"
    r"|\u4f60\u662f|\u3042\u306a\u305f\u306f)[ \t*_\"'\u201c\u00ab]{0,4}"
    r"(\w[\w'\u2019-]{1,30}(?: [^\W\d_a-z][\w'\u2019-]{0,30}){0,2})"
)


@dataclass(frozen=True, slots=True)
class Written:
    """Raw output for one style, and whether the token limit cut it off.

    Attributes:
        thought: Whether the model thought, and the server has taken the thoughts out of ``text``.
        opened: Whether the prompt opened a thought, so that ``text`` begins within it.
    """

    text: str
    style: str
    cut_off: bool
    thought: bool = False
    opened: bool = False


def candidates_of(
    written: Iterable[Written],
    *,
    drafts: bool = False,
    markers: re.Pattern[str] | None = None,
    names: Iterable[str] = (),
) -> list[Candidate]:
    """Clean raw outputs; leave out blank texts and repeats, ignoring case and spacing.

    Args:
        written: Raw outputs of the model.
        drafts: Whether an output that the token limit cut off is a draft to be continued.
        markers: Role markers of the model that the table does not hold.
        names: Names of the bot, which a model may write before its reply.

    Raises:
        OnlyThoughts: All are blank, and the model thought.
        GeneratorError: All are blank.
    """
    candidates: list[Candidate] = []
    seen, written, names = {""}, tuple(written), tuple(names)
    for one in written:
        text = clean(one.text, cut_off=one.cut_off, markers=markers, names=names, opened=one.opened)
        key = " ".join(text.casefold().split())
        if key not in seen:
            seen.add(key)
            candidates.append(Candidate(text, one.style, unfinished=drafts and one.cut_off))
    if candidates:
        return candidates
    if any(map(thinks, written)):
        raise OnlyThoughts
    raise GeneratorError("the language model wrote only blank text; ask again in other words")


def clean(
    text: str,
    *,
    cut_off: bool = False,
    markers: re.Pattern[str] | None = None,
    names: Iterable[str] = (),
    opened: bool = False,
) -> str:
    """Extract the reply from raw output.

    Args:
        text: Decoded output. Half a character at the end may appear as U+FFFD. A lone surrogate cannot be
            encoded and is replaced by U+FFFD.
        cut_off: Whether the token limit cut it off, so that the last sentence may be unfinished.
        markers: Role markers of the model that the table does not hold.
        names: Names of the bot, which a model may write before its reply.
        opened: Whether the prompt opened a thought, so that the text begins within it.
    """
    text = _HALF_CHARACTER.sub("\ufffd", text)
    said, _ = reply_in(text, folded(text), opened=opened, markers=markers)
    return _tidied(said, cut_off, tuple(names))


def thinks(written: Written) -> bool:
    """Return whether the model thought before this answer."""
    return written.thought or reply_in(written.text, folded(written.text), opened=written.opened)[1]


def names_of(context: Context, persona: str) -> tuple[str, ...]:
    """Return the names that a model may write before its reply, as in "Ada: hello".

    They are the name of the bot in the server, and those that the persona gives it ("You are Ada, a pirate").

    Args:
        context: The context of the reply.
        persona: The configured persona.
    """
    given = _NAMED.findall(context.persona_or(persona)[:2000])
    names = (context.name, *given)
    return tuple(dict.fromkeys([*names, *(name.split()[0] for name in names if name.strip())]))


def _tidied(said: str, cut_off: bool, names: tuple[str, ...]) -> str:
    text = _without_names(said, names).strip().rstrip("\ufffd").rstrip()
    return without_unfinished_end(text) if cut_off else text


def _without_names(text: str, names: tuple[str, ...]) -> str:
    """Remove the bot's name or role with a colon from the start, unless it is one of a list of labels."""
    own = "|".join(re.escape(folded(name)) for name in names if name.strip() and len(name) <= _LONGEST_NAME)
    prefix = re.compile(
        rf"(?:[\s\"'*_\[@<(]{{0,8}}(?:\#{{2,4}}[ \t]{{0,3}})?"
        rf"(?:{_ROLE_NAMES}{'|' if own else ''}{own})[*_\])>\"']{{0,6}}[ \t]{{0,3}}:[*_]{{0,4}}\s*+"
        r"|\s{0,9}assistant[ \t]{0,3}\n\s*+" + (rf"|\s*+<(?:{own})>\s*+)" if own else ")"),
        re.IGNORECASE,
    )
    position, plain = 0, folded(text)
    while found := prefix.match(plain, position):
        if "\n" not in found.group().strip() and is_before_label(plain, found.end()):
            break
        position = found.end()
    return text[position:]


def reply_in(
    text: str, plain: str, *, opened: bool = False, markers: re.Pattern[str] | None = None
) -> tuple[str, bool]:
    """Return what a raw output says, without thoughts and marks, and whether it holds a thought.

    Args:
        text: Raw output.
        plain: The same text, folded.
        opened: Whether the prompt opened a thought: everything before its end is thought.
        markers: Turn markers of the model that the table does not hold.
    """
    start, thought = behind_thoughts(plain, opened)
    text, plain = text[start:], plain[start:]
    said, again = _without_marks(text, plain, thought, markers)
    return said, thought or again


def _without_marks(text: str, plain: str, thought: bool, markers: re.Pattern[str] | None) -> tuple[str, bool]:
    """Remove later thoughts, the wrapper of the answer and the first marks; cut at the end mark."""
    marks, own = marks_in(plain), _first_outside(markers, plain)
    pieces, last, again, wrapped, index = list[str](), 0, False, False, -1
    may_wrap = thought or any(mark.wraps and mark.kind == "close" for mark in marks)
    while (index := index + 1) < len(marks) and (mark := marks[index]).start < own:
        silent = not pieces and not plain[last : mark.start].strip()
        if mark.wraps:
            if mark.kind == "close" and wrapped:
                return "".join([*pieces, text[last : mark.start]]), again
            if mark.kind == "open" and silent and may_wrap:
                last, wrapped = mark.end, True
        elif mark.acts and mark.kind == "open":
            pieces.append(text[last : mark.start])
            same = (
                i for i in range(index, len(marks)) if marks[i].kind == "close" and marks[i].row == mark.row
            )
            index = next(same, len(marks))
            if index == len(marks):
                return "".join(pieces), True
            last, again = marks[index].end, True
        elif mark.acts and mark.kind != "close":
            mine = mark.kind in ("sign", "tag") or _OWN.search(plain, mark.start, mark.end)
            if not silent or not mine:
                return "".join([*pieces, text[last : mark.start]]), again
            last = behind_role(plain, mark.end)
    return "".join([*pieces, text[last:own]]), again


def _first_outside(markers: re.Pattern[str] | None, plain: str) -> int:
    """Return where the first of the model's own markers stands outside of code and quotes."""
    if markers is None or markers.search(plain) is None:
        return len(plain)
    masked = masked_in(plain)
    return next((m.start() for m in markers.finditer(plain) if not masked[m.start()]), len(plain))


def without_unfinished_end(text: str) -> str:
    """Drop an unfinished last sentence or list item, unless it is the whole text. Keep code unchanged."""
    if text.count("```") % 2:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text)]
    kept = _without_empty_items(text[: ends[-1]].rstrip()) if ends else ""
    return kept or text


def _without_empty_items(text: str) -> str:
    """Drop empty list items from the end."""
    lines = text.split("\n")
    while len(lines) > 1 and _EMPTY_ITEM.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines)
