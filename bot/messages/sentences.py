"""Finds where the sentences of a text end, in any script and never inside of code. Linear in the text."""

from __future__ import annotations

import regex

from bot.messages.markdown import Kind, parts_of

_EMOJI = r"(?:[^\S\n]*+\p{Extended_Pictographic}[\p{Emoji_Modifier}\ufe0f\u200d\p{Extended_Pictographic}]*+)"
_CLOSING = r"[\p{Pe}\p{Pf}\"'*_~|]*+"
_SMILING = rf"(?:{_EMOJI}++(?:{_CLOSING}(?=\s|\Z))?+)?+"
# Other scripts have no blanks after a sentence. Runs are tried from their first sign only: that is linear.
_END = regex.compile(
    rf"(?:(?<![.!?\u2026\u203c-\u2049])[.!?\u2026\u203c-\u2049]++{_CLOSING}(?=\s|\Z|\p{{Extended_Pictographic}})"
    rf"|[\p{{STerm}}--[.!?\u2026]]++{_CLOSING}){_SMILING}|(?<=[^\s:])[^\S\n]*+(?=\n|\Z)",
    regex.VERSION1,
)
# "am 5. Mai": rather one sentence too many than half a one.
_ABBREVIATION = regex.compile(
    r"(?:(?<![\p{L}\p{M}\d])(?:\p{L}|\d{1,2}|mr|mrs|ms|dr|prof|st|vs|etc|approx|bzw|ca|usw|sr|sra|dra|mme?|cf|jr|inc"
    r"|[ei]\.g|i\.e|z\.\s?b|d\.\s?h|u\.\s?a|p\.\s?ex|p\.\s?ej|a\.m|p\.m))\.\Z",
    regex.IGNORECASE,
)
_HEADING = regex.compile(r"(?:#{1,6}|-#)[ \t]")
_MARKUP = " \t\n\r|*_~"
_NUMBERED = regex.compile(r"(?<![\p{L}\p{M}])(?:no|nr|fig|pp?|vol|art)\.\Z", regex.IGNORECASE)


def sentence_ends(text: str) -> list[int]:
    """Return the position after each sentence of a text, in order; a line or emoji at its end ends one, too.

    A line that ends with a colon, and a heading, go on. Code belongs to the sentence around it.
    """
    code = [(part.start, part.end) for part in parts_of(text) if part.kind in (Kind.CODE, Kind.DOUBTFUL)]
    ends: list[int] = []
    at = 0
    for match in _END.finditer(text):
        end, sign = match.end(), text[match.start() : match.start() + 1]
        while at < len(code) and code[at][1] <= match.start():
            at += 1
        if at < len(code) and code[at][0] <= match.start():
            continue
        if sign == "." and end < len(text) and _goes_on(text, match.start(), end):
            continue
        if text.startswith("\n", end) and _HEADING.match(text, text.rfind("\n", 0, end) + 1, end):
            continue
        if text[ends[-1] if ends else 0 : end].strip(_MARKUP):
            ends.append(end)
    return ends


def _goes_on(text: str, stop: int, end: int) -> bool:
    """Return whether the sentence goes on after a full stop at ``stop``."""
    before, after = text[max(0, stop - 8) : stop + 1], text[end : end + 8].lstrip()[:1]
    if after.isdigit() and _NUMBERED.search(before):
        return True
    return after.islower() or bool(_ABBREVIATION.search(before))
