"""Splits a reply into messages that Discord accepts.

A message holds at most 2,000 characters, and a code fence that is cut in two breaks both halves. A cut is
made at the end of a paragraph, else of a line, a sentence or a word, and only then anywhere. A code block
that is cut is closed at the end of its chunk and opened again, with its language, in the next. So is every
other format: a spoiler that is cut stays hidden, and a quote stays a quote. No cut falls inside a grapheme
cluster (what is read as one character: accents, emoji sequences, flags), and none inside a code span, a
masked link or an address that is shorter than a message. Pure text.

Fences follow Discord, not CommonMark: each run of three to ten backticks opens a block or closes the open
one, at any position of the line. Longer and escaped runs are treated as text.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import regex

from bot.messages.formats import Format, Formats
from bot.messages.markdown import parts_of

MIN_LIMIT = 64
"""Below this a repaired fence with its language could not make progress."""

_FENCE = "```"
_SEPARATOR = "\u2060"
"""Word joiner: keeps two marks of the same sign apart, and is not shown."""
_MARKS = "*_~|`"
_LOOK_AHEAD = 2000
"""White space that is searched for the end of a format, characters."""
_MARKER = re.compile(r"(?<!`)`{3,10}(?!`)")
_LANGUAGE = re.compile(r"[A-Za-z0-9_+\-.#]{0,20}(?=\n|\Z)")
_PARAGRAPH = regex.compile(r"\n[ \t]*\n")
_LINE = regex.compile(r"\n")
_TOP_LINE = regex.compile(r"\n(?![ \t])")
"""Discord drops the indentation of a nested item at the start of a message."""
# \X: between two characters that are no space, the match must end with a grapheme cluster.
_SENTENCE = regex.compile(
    r"(?<![.!?…])[.!?…]++[\"'”’)\]*_]*+(?=\s)|(?:(?=[。！？])\X)++(?:(?=[」』”’）])\X)*+"
)
_SPACE = regex.compile(r"\s")
_QUOTED = re.compile(r" {0,40}+> ++")
_SOLID = re.compile(r"\S")
_CLUSTER = regex.compile(r"\X")
_PIECE = 64
"""Code points that are searched for clusters at once; a cluster that is longer makes the piece longer."""


@dataclass(frozen=True, slots=True)
class _Marker:
    """A run of backticks that opens or closes a block: its span and, when it opens one, the language."""

    start: int
    end: int
    opens: bool
    language: str


def split_message(text: str, limit: int = 2000) -> list[str]:
    """Split a reply into chunks to be posted in order.

    Args:
        text: The reply. Blank text gives no chunk.
        limit: Longest chunk, code points; at least :data:`MIN_LIMIT`.

    Returns:
        Chunks of 1 to ``limit`` characters, none of them blank, each with balanced code fences and formats.
        Together they hold every word of ``text`` in order; only white space at cuts is lost, only marks of
        formats and fences are added. A grapheme cluster is cut only where it is longer than a chunk.

    Raises:
        ValueError: ``limit`` is too small.
    """
    if limit < MIN_LIMIT:
        raise ValueError(f"limit must be at least {MIN_LIMIT} characters, found {limit}")
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    chunks = list(_Splitter(text, limit).chunks())
    # A text that is only an unfinished fence has no content to repair; it is posted unchanged.
    return chunks or [text[i : i + limit] for i in range(0, len(text), limit)]


def beginning(text: str, most: int) -> str:
    """Return as many whole grapheme clusters of a text as ``most`` code points hold."""
    return text[: max(_cluster_ends(text, 0, most), default=0)]


def _cluster_ends(text: str, start: int, high: int) -> list[int]:
    """Return the ends of the grapheme clusters from ``start`` on that are not after ``high``, in order.

    Searches piece by piece: from each flag the library looks back over all flags before it, which would take
    quadratic time in a row of flags.
    """
    ends: list[int] = []
    size = _PIECE
    while start < min(high, len(text)):
        stop = min(start + size, high + 1)  # the character at `high` shows whether a cluster continues
        found = [start + match.end() for match in _CLUSTER.finditer(text[start:stop])]
        if stop < min(high + 1, len(text)):
            found.pop()  # it may continue in the next piece
        ends += [end for end in found if end <= high]
        start, size = (found[-1], _PIECE) if found else (start, 2 * size)
    return ends


class _Splitter:
    """The state of one split: the text, its fences and formats, and the limit."""

    def __init__(self, text: str, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._markers = list(_markers_of(text))
        self._starts = [marker.start for marker in self._markers]
        self._ends = [marker.end for marker in self._markers]
        self._spans = [
            (part.start, part.end)
            for part in parts_of(text)
            if part.end - part.start < limit and not text.startswith(_FENCE, part.start)
        ]
        closings = [*self._ends[1::2], *([len(text)] if len(self._markers) % 2 else [])]
        self._formats = Formats(text, list(zip(self._starts[::2], closings, strict=True)))

    def chunks(self) -> Iterator[str]:
        """Yield the chunks in order."""
        start = 0
        while (start := self._skip_white_space(start)) < len(self._text):
            end = self._cut_after(start)
            head, tail = self._head(start), self._tail(end)
            if not (head or tail) or self._has_content(start, end):  # no empty blocks
                yield _joined(head, self._text[self._past_prefix(start) : end].rstrip(), tail)
            start = self._after_closing(end)

    def _has_content(self, start: int, end: int) -> bool:
        """Return whether there is content other than fences and white space between two positions."""
        for marker in self._markers[bisect_left(self._starts, start) : bisect_left(self._starts, end)]:
            if self._text[start : marker.start].strip():
                return True
            start = marker.end
        return bool(self._text[start:end].strip())

    def _after_closing(self, cut: int) -> int:
        """Return where to continue after a cut: past a closing fence with only white space before it."""
        i = bisect_left(self._starts, cut)
        if not self._open_at(cut) or i == len(self._markers) or self._text[cut : self._starts[i]].strip():
            return cut
        return self._ends[i]

    def _skip_white_space(self, start: int) -> int:
        """Return where the next chunk's text begins. Inside a block its indentation is kept."""
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
        """Return what opens the formats and the block in which a chunk begins, the outermost first."""
        fence, formats = self._open_at(start), self._formats.open_at(start)
        if fence is None:
            return _joined(*(one.opening for one in formats))
        outside = [one.opening for one in formats if one.start <= fence.start]
        quote = _quote_of(formats)
        mid_line = start > 0 and self._text[start - 1] != "\n"
        return _joined(*outside, f"{_FENCE}{fence.language}\n") + (quote if mid_line else "")

    def _tail(self, end: int) -> str:
        """Return what closes the formats and the block that are open at a cut, the innermost first."""
        formats = self._formats.open_at(end)
        closings = [one.closing for one in reversed(formats) if one.closing]
        if self._open_at(end) is None:
            return _joined(*closings)
        return _joined(f"\n{_quote_of(formats)}{_FENCE}", *closings)

    def _tail_room(self, end: int) -> int:
        """Return the most characters that the tail of a chunk takes, with a separator before it."""
        tail = self._tail(end)
        return len(tail) + (tail != "" and tail[0] in _MARKS)

    def _past_prefix(self, start: int) -> int:
        """Return where a chunk goes on behind the prefix of a quoted line, which its head repeats."""
        formats = self._formats.open_at(start)
        if not _quote_of(formats) or self._open_at(start) or self._text[start - 1] != "\n":
            return start
        prefix = _QUOTED.match(self._text, start)
        return prefix.end() if prefix else start

    def _cut_after(self, start: int) -> int:
        """Return the end of the chunk that begins at ``start``: the best cut that fits."""
        head = self._head(start)
        room = self._limit - len(head) - (head != "" and head[-1] in _MARKS)
        if len(self._text) - start + self._tail_room(len(self._text)) <= room:
            return len(self._text)
        for pattern, least, outside in (
            (_PARAGRAPH, room // 2, True),
            (_TOP_LINE, room // 2, True),
            (_LINE, room // 2, True),
            (_LINE, room // 2, False),
            (_SENTENCE, room // 2, True),
            (_SPACE, room // 2, True),
            (_SPACE, 1, False),
        ):
            for cut in self._cuts(pattern, start, start + room):
                if cut - start < least:
                    break
                if not (outside and self._is_inside(cut)) and self._may_cut(cut, start + room):
                    return cut
        return self._forced_cut(start, start + room)

    def _cuts(self, pattern: regex.Pattern[str], start: int, high: int) -> Iterator[int]:
        """Yield the positions where a pattern allows a cut, last first."""
        after = pattern is _SENTENCE
        for match in reversed(list(pattern.finditer(self._text, start + 1, min(high + 2, len(self._text))))):
            yield match.end() if after else match.start()

    def _is_inside(self, cut: int) -> bool:
        """Return whether a block or a format, other than a quote or a heading, is open at a cut."""
        return bool(self._open_at(cut)) or any(one.closing for one in self._formats.open_at(cut))

    def _may_cut(self, cut: int, high: int) -> bool:
        if cut + self._tail_room(cut) > high or self._breaks_marker(cut) or self._breaks_format(cut):
            return False
        i = bisect_left(self._spans, (cut, cut)) - 1
        return i < 0 or cut >= self._spans[i][1] or self._open_at(cut) is not None

    def _breaks_format(self, cut: int) -> bool:
        """Return whether a cut would split a mark or an escape, or leave a part of a format empty."""
        before = cut
        while before and self._text[before - 1].isspace():
            before -= 1
        if self._formats.marks_at(before) or _is_escaped(self._text, before):
            return True
        after = _SOLID.search(self._text, cut, cut + _LOOK_AHEAD)
        next_word = after.start() if after else cut + _LOOK_AHEAD
        return any(one.closing and next_word >= one.inner_end for one in self._formats.open_at(cut))

    def _breaks_marker(self, cut: int) -> bool:
        """Return whether a cut would split a run of backticks or leave an opening fence without content."""
        i = bisect_left(self._starts, cut)
        if not i:
            return False
        before = self._markers[i - 1]
        content = self._text[before.end : cut].rstrip()
        # Discord would take a single word right behind the fence for its language and not show it.
        return cut < before.end or (before.opens and bool(_LANGUAGE.fullmatch(content)))

    def _forced_cut(self, start: int, high: int) -> int:
        """Cut where no pattern helps (one endless word): after a whole cluster, outside of fences."""
        ends = _cluster_ends(self._text, start, high)
        for cut in reversed(ends):
            if self._may_cut(cut, high):
                return cut
        fitting = (cut for cut in range(high, start, -1) if cut + self._tail_room(cut) <= high)
        return next(fitting, high)


def _joined(*pieces: str) -> str:
    """Join marks and text; two marks of one sign are kept apart, so that each is read as it is meant."""
    joined = ""
    for piece in pieces:
        touching = joined[-1:] and joined[-1] == piece[:1] and piece[0] in _MARKS
        joined += (_SEPARATOR if touching else "") + piece
    return joined


def _quote_of(formats: Sequence[Format]) -> str:
    """Return the prefix that each line of the quote among formats has; empty where there is none."""
    return next((one.opening for one in formats if one.opening == "> "), "")


def _markers_of(text: str) -> Iterator[_Marker]:
    """Yield the fences of a text in order; an opening one includes its language."""
    opens = True
    for match in _MARKER.finditer(text):
        if opens and _is_escaped(text, match.start()):
            continue
        language = _LANGUAGE.match(text, match.end()) if opens else None
        end = language.end() if language else match.end()
        yield _Marker(match.start(), end, opens, language.group() if language else "")
        opens = not opens


def _is_escaped(text: str, position: int) -> bool:
    """Return whether an odd number of backslashes precedes a position."""
    start = position
    while start and text[start - 1] == "\\":
        start -= 1
    return (position - start) % 2 == 1
