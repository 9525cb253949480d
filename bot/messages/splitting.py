"""Splitting a reply into pieces that Discord accepts.

Discord takes 2,000 characters a message, and a code fence that is cut in two breaks both halves. This
module finds the kindest cut (paragraph, line, sentence, word, and only then anywhere) and repairs fences: one
that is cut is closed at the end of its chunk and opened again, with its language, on the next. Pure text, no
imports from the rest of the project; ``bot/cogs/chat/chat.py`` calls it just before posting.

Fences follow Discord, not CommonMark: each run of three to ten backticks opens a block or closes the open
one, wherever on the line it stands. Longer runs are noise and are treated as text.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

MIN_LIMIT = 64
"""Below this a repaired fence with its language could not make progress."""

_FENCE = "```"
_CLOSE = "\n" + _FENCE
_MARKER = re.compile(r"(?<!`)`{3,10}(?!`)")
_LANGUAGE = re.compile(r"[A-Za-z0-9_+\-.#]{0,20}(?=\n|\Z)")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s)|[。！？]++[」』”’）]*+")
_SPACE = re.compile(r"\s")
_ZWJ = "\u200d"
_GRAPHEME_REACH = 64
"""How far a forced cut moves back to keep an emoji or an accented letter whole, characters."""


@dataclass(frozen=True, slots=True)
class _Marker:
    """One run of backticks that opens or closes a block: its span and, when it opens one, the language."""

    start: int
    end: int
    opens: bool
    language: str


def split_message(text: str, limit: int = 2000) -> list[str]:
    """Split a reply into chunks that can be posted one after the other.

    Args:
        text: The reply. Blank text gives no chunk.
        limit: Longest chunk, code points; at least :data:`MIN_LIMIT`.

    Returns:
        Chunks of 1 to ``limit`` characters, none of them blank, each with balanced code fences. Put together
        they hold every word of ``text`` in order; only white space at cuts is lost, only fences are added.

    Raises:
        ValueError: ``limit`` is too small.
    """
    if limit < MIN_LIMIT:
        raise ValueError(f"limit must be at least {MIN_LIMIT} characters, found {limit}")
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    chunks = list(_Splitter(text, limit).chunks())
    # Nothing but an unfinished fence: there is no word to repair it around, so it is posted as it is.
    return chunks or [text[i : i + limit] for i in range(0, len(text), limit)]


class _Splitter:
    """The state of one split: the text, its fences, and the limit."""

    def __init__(self, text: str, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._markers = list(_markers_of(text))
        self._starts = [marker.start for marker in self._markers]
        self._ends = [marker.end for marker in self._markers]

    def chunks(self) -> Iterator[str]:
        """Yield the chunks in order."""
        start = 0
        while (start := self._skip_white_space(start)) < len(self._text):
            end = self._cut_after(start)
            head, tail = self._head(start), self._tail(end)
            if not (head or tail) or self._has_content(start, end):  # no empty blocks
                yield head + self._text[start:end].rstrip() + tail
            start = self._after_closing(end)

    def _has_content(self, start: int, end: int) -> bool:
        """Tell whether anything but fences and white space stands between two positions."""
        for marker in self._markers[bisect_left(self._starts, start) : bisect_left(self._starts, end)]:
            if self._text[start : marker.start].strip():
                return True
            start = marker.end
        return bool(self._text[start:end].strip())

    def _after_closing(self, cut: int) -> int:
        """Return where to go on after a cut: past the closing fence when only white space is before it."""
        i = bisect_left(self._starts, cut)
        if not self._open_at(cut) or i == len(self._markers) or self._text[cut : self._starts[i]].strip():
            return cut
        return self._ends[i]

    def _skip_white_space(self, start: int) -> int:
        """Return where the next chunk's text begins: inside a block its indentation is kept."""
        if start == 0:
            return start
        rest = self._text[start:]
        return start + len(rest) - len(rest.lstrip("\n" if self._open_at(start) else None))

    def _open_at(self, position: int) -> _Marker | None:
        """Return the marker of the block that is open at a position."""
        passed = bisect_right(self._ends, position)
        marker = self._markers[passed - 1] if passed else None
        return marker if marker and marker.opens else None

    def _head(self, start: int) -> str:
        marker = self._open_at(start)
        return f"{_FENCE}{marker.language}\n" if marker else ""

    def _tail(self, end: int) -> str:
        return _CLOSE if self._open_at(end) else ""

    def _cut_after(self, start: int) -> int:
        """Return the end of the chunk that begins at ``start``: the kindest cut that fits."""
        room = self._limit - len(self._head(start))
        if len(self._text) - start + len(self._tail(len(self._text))) <= room:
            return len(self._text)
        for pattern, least, outside in (
            (_PARAGRAPH, room // 2, True),
            (_LINE, room // 2, True),
            (_LINE, room // 2, False),
            (_SENTENCE, room // 2, True),
            (_SPACE, 1, False),
        ):
            for cut in self._cuts(pattern, start, start + room):
                if cut - start < least:
                    break
                if not (outside and self._open_at(cut)) and self._may_cut(cut, start + room):
                    return cut
        return self._forced_cut(start, start + room)

    def _cuts(self, pattern: re.Pattern[str], start: int, high: int) -> Iterator[int]:
        """Yield the positions where a pattern allows a cut, last first."""
        after = pattern is _SENTENCE
        for match in reversed(list(pattern.finditer(self._text, start + 1, min(high + 2, len(self._text))))):
            yield match.end() if after else match.start()

    def _may_cut(self, cut: int, high: int) -> bool:
        return cut + len(self._tail(cut)) <= high and not self._breaks_marker(cut)

    def _breaks_marker(self, cut: int) -> bool:
        """Tell whether a cut would split a run of backticks or leave an opening fence without content."""
        i = bisect_left(self._starts, cut)
        if not i:
            return False
        before = self._markers[i - 1]
        content = self._text[before.end : cut].rstrip()
        # A single word right behind the fence would become its language: Discord would not show it.
        return cut < before.end or (before.opens and bool(_LANGUAGE.fullmatch(content)))

    def _forced_cut(self, start: int, high: int) -> int:
        """Cut where no pattern helps (one endless word), sparing emoji and fences where possible."""
        if self._open_at(high) or self._open_at(high - len(_CLOSE)):
            high -= len(_CLOSE)
        for cut in range(high, max(start, high - _GRAPHEME_REACH), -1):
            if self._may_cut(cut, high + len(_CLOSE)) and not _splits_grapheme(self._text, cut):
                return cut
        return high


def _markers_of(text: str) -> Iterator[_Marker]:
    """Yield the fences of a text in order; an opening one reaches over its language."""
    opens = True
    for match in _MARKER.finditer(text):
        language = _LANGUAGE.match(text, match.end()) if opens else None
        end = language.end() if language else match.end()
        yield _Marker(match.start(), end, opens, language.group() if language else "")
        opens = not opens


def _splits_grapheme(text: str, cut: int) -> bool:
    """Tell whether a cut falls inside what is read as one character (accents, emoji sequences, flags).

    Source: Unicode Standard Annex 29, rules GB9, GB11 and GB12; Hangul and Indic rules are left out.
    """
    before, after = text[cut - 1], text[cut : cut + 1]
    if not after:
        return False
    if _ZWJ in (before, after) or unicodedata.category(after).startswith("M") or _is_modifier(after):
        return True
    return _is_flag_letter(after) and _flag_letters_before(text, cut) % 2 == 1


def _is_modifier(char: str) -> bool:
    """Tell whether a character changes the emoji before it: skin tones and tags."""
    return "\U0001f3fb" <= char <= "\U0001f3ff" or "\U000e0020" <= char <= "\U000e007f"


def _is_flag_letter(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def _flag_letters_before(text: str, cut: int) -> int:
    n = 0
    while n < cut and _is_flag_letter(text[cut - 1 - n]):
        n += 1
    return n
