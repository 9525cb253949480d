"""Finds the formats of Discord's markdown in a text, which a cut between messages must close and open again.

Formats are spoilers, bold, italics, underline, strike, inline code, quotes and headings. The rules are those
of Discord: the rule that begins first wins, its end is the first possible one, and what it holds is read
again. Blocks of code are found by the caller. Pure text, linear in its length: ends are looked up in sorted
lists, and the depth is bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bot.messages.markdown import Kind, Part, parts_of

_STOP = re.compile(r"\\.|`++|\*++|_++|~~|\|\||\n", re.DOTALL)
_QUOTE = re.compile(r" {0,40}+> ++(?! )")
_ALL_QUOTE = re.compile(r" {0,40}+>>> ++")
_HEADING = re.compile(r" {0,40}+(#{1,3} ++|-# ++)(?=\S)")
_ITEM = re.compile(r" {0,40}+(?:[*+-]|\d{1,9}\.) ++")
_SPOILER, _STRIKE = re.compile(r"(?=\|\|)"), re.compile(r"(?=~~)")
_RUNS = {sign: re.compile(rf"\\.|({re.escape(sign)}++)", re.DOTALL) for sign in "*_"}
_ADDRESS_REST = re.compile(r"[^\s<]*+")
_DEEPEST = 12
"""Formats inside of each other that are read; only rows of signs without words go deeper."""
_TICKS = re.compile("`++")


@dataclass(frozen=True, slots=True)
class Format:
    """One format in a text.

    Attributes:
        start: First position of its opening mark.
        inner: First position of what it holds.
        inner_end: Position after what it holds.
        end: Position after its closing mark.
        opening: The opening mark; for a line, its prefix.
        closing: The closing mark; empty for a line.
        parent: Index of the format around it, -1 for none.
    """

    start: int
    inner: int
    inner_end: int
    end: int
    opening: str
    closing: str
    parent: int = -1


class Formats:
    """The formats of a text, and those that are open at a position.

    Args:
        text: The text.
        blocks: Start and end of each block of code, in order.
    """

    def __init__(self, text: str, blocks: Sequence[tuple[int, int]] = ()) -> None:
        self.all = _Reader(text, blocks).formats()
        self._starts = [one.start for one in self.all]

    def open_at(self, position: int) -> list[Format]:
        """Return the formats that hold both sides of a position, the outermost first."""
        found: list[Format] = []
        index = bisect_right(self._starts, position) - 1
        while index >= 0:
            one = self.all[index]
            if one.inner <= position < one.inner_end:
                found.append(one)
            index = one.parent
        return found[::-1]

    def marks_at(self, position: int) -> bool:
        """Return whether a position is inside of a mark, or right behind an opening one."""
        index = bisect_left(self._starts, position) - 1
        while index >= 0:
            one = self.all[index]
            if one.start < position <= one.inner or one.inner_end <= position < one.end:
                return True
            index = one.parent
        return False


class _Reader:
    """State of one reading."""

    def __init__(self, text: str, blocks: Sequence[tuple[int, int]]) -> None:
        self._text = text
        self._found: list[Format] = []
        self._depth = 0
        links = (part for part in parts_of(text) if part.kind in (Kind.MASKED, Kind.ADDRESS))
        self._whole = sorted([*(_whole_link(text, link) for link in links), *blocks])
        self._spoilers = [match.start() for match in _SPOILER.finditer(text)]
        self._strikes = [
            at.start() for at in _STRIKE.finditer(text) if text[at.start() + 2 : at.start() + 3] != "_"
        ]
        self._runs = {sign: _Runs(text, sign) for sign in "*_"}
        self._ticks: dict[int, list[int]] = {}
        for run in _TICKS.finditer(text):
            self._ticks.setdefault(len(run[0]), []).append(run.start())

    def formats(self) -> list[Format]:
        """Return the formats in the order of their starts."""
        self._read(0, len(self._text), parent=-1, quoted=False, lines=True)
        return self._found

    def _read(self, start: int, end: int, *, parent: int, quoted: bool, lines: bool) -> None:
        """Read a part of the text; ``lines``: whether quotes, headings and items may begin in it."""
        position = self._line(start, end, parent, quoted=quoted) if lines else start
        while stop := _STOP.search(self._text, position, end):
            at, sign = stop.start(), stop[0][0]
            if past := self._past_whole(position, at, end):
                position = past
            elif sign == "\\":
                position = stop.end()
            elif sign == "\n":
                position = self._line(at + 1, end, parent, quoted=quoted) if lines else at + 1
            elif made := self._format(at, stop.end(), end, parent):
                index = len(self._found)
                self._found.append(made)
                if sign != "`" and self._depth < _DEEPEST:
                    self._depth += 1
                    self._read(made.inner, made.inner_end, parent=index, quoted=quoted, lines=False)
                    self._depth -= 1
                position = made.end
            else:
                position = stop.end() if sign == "`" else at + 1

    def _past_whole(self, position: int, at: int, end: int) -> int:
        """Return the end of the link, address or block around ``at``, 0 if there is none."""
        index = bisect_right(self._whole, (at, end)) - 1
        if index < 0:
            return 0
        start, stop = self._whole[index]
        return stop if position <= start and at < stop <= end else 0

    def _line(self, start: int, end: int, parent: int, *, quoted: bool) -> int:
        """Read a quote, heading or item that begins at the start of a line; return where to go on."""
        text = self._text
        if not quoted and (found := _ALL_QUOTE.match(text, start, end)):
            return self._hold(Format(start, found.end(), end, end, ">>> ", "", parent), quoted=True)
        prefix = _QUOTE.match(text, start, end)
        if prefix and not quoted:
            stop = _end_of_lines(text, start, end, lambda line: _QUOTE.match(text, line, end) is not None)
            return self._hold(Format(start, prefix.end(), stop, stop, "> ", "", parent), quoted=True)
        begin = prefix.end() if prefix else start
        if heading := _HEADING.match(text, begin, end):
            stop = _line_end(text, begin, end)
            made = Format(begin, heading.end(), stop, stop, heading[1], "", parent)
            return self._hold(made, quoted=quoted, lines=False)
        if item := _ITEM.match(text, begin, end):
            stop = _end_of_lines(text, begin, end, lambda line: _goes_on(text, line, end, quoted))
            self._read(item.end(), stop, parent=parent, quoted=quoted, lines=False)
            return stop
        return begin

    def _hold(self, made: Format, *, quoted: bool, lines: bool = True) -> int:
        index = len(self._found)
        self._found.append(made)
        self._read(made.inner, made.inner_end, parent=index, quoted=quoted, lines=lines)
        return made.end

    def _format(self, at: int, stop: int, end: int, parent: int) -> Format | None:
        """Return the format that begins at ``at`` and ends by ``end``, else None."""
        for mark, close in self._closings(at, stop, end):
            if close is not None and close + len(mark) <= end:
                inner = at + len(mark)
                return Format(at, inner, close, close + len(mark), mark, mark, parent)
        return None

    def _closings(self, at: int, stop: int, end: int) -> Iterator[tuple[str, int | None]]:
        """Yield the marks that may begin at ``at``, each with the position of its closing mark."""
        sign = self._text[at]
        if sign == "|":
            yield "||", _first(self._spoilers, at + 3)
        elif sign == "~":
            yield "~~", _first(self._strikes, at + 3)
        elif sign == "`":
            for length in range(stop - at, 0, -1) if stop - at < 3 else ():
                yield "`" * length, _first(self._ticks.get(length, []), stop)
        else:
            runs = self._runs[sign]
            if self._text.startswith(sign * 2, at):
                yield sign * 2, runs.double(at + 3, end)
            yield sign, runs.single(at, end)


class _Runs:
    """The runs of ``*`` or ``_`` in a text that no backslash escapes."""

    def __init__(self, text: str, sign: str) -> None:
        self._text, self._sign = text, sign
        self._all = [match.span(1) for match in _RUNS[sign].finditer(text) if match[1]]
        self._odd = [run for run in self._all if (run[1] - run[0]) % 2]
        self._long_ends = [run[1] for run in self._all if run[1] - run[0] >= 2]

    def double(self, least: int, end: int) -> int | None:
        """Return the first closing pair from ``least`` on: the last two signs of a run."""
        index = bisect_left(self._long_ends, least + 2)
        if index == len(self._long_ends):
            return None
        close = min(self._long_ends[index], end) - 2
        return close if close >= least and self._text.startswith(self._sign * 2, close) else None

    def single(self, at: int, end: int) -> int | None:
        """Return the single sign that closes the one at ``at``: the last of the first odd run."""
        own = self._all[max(bisect_right(self._all, (at, len(self._text))) - 1, 0)] if self._all else (0, 0)
        if (own[1] - at) % 2 == 0 or (self._sign == "*" and self._text[at + 1 : at + 2].isspace()):
            return None
        close = self._odd_end(own[1], end)
        if close is None or close <= at + 1:
            return None
        before, after = self._text[close - 1], self._text[close + 1 : min(close + 2, end)]
        if self._sign == "*":
            return None if before.isspace() else close
        return None if after.isalnum() or after == "_" else close

    def _odd_end(self, start: int, end: int) -> int | None:
        index = bisect_left(self._odd, (start, start))
        if index < len(self._odd) and self._odd[index][1] <= end:
            return self._odd[index][1] - 1
        last = bisect_left(self._all, (end, end)) - 1  # a run that the end of the format around it cuts
        cut = last >= 0 and start <= self._all[last][0] and (end - self._all[last][0]) % 2
        return end - 1 if cut and self._all[last][1] > end else None


def _whole_link(text: str, link: Part) -> tuple[int, int]:
    """Return the start and end of a link; Discord takes signs of markdown in an address for a part of it."""
    rest = _ADDRESS_REST.match(text, link.end)
    plain = link.kind is Kind.ADDRESS and text[link.start] != "<" and rest
    return link.start, link.end + (len(rest[0].rstrip(".,:;\"']")) if plain and rest else 0)


def _first(positions: list[int], least: int) -> int | None:
    """Return the first of sorted positions from ``least`` on."""
    index = bisect_left(positions, least)
    return positions[index] if index < len(positions) else None


def _line_end(text: str, start: int, end: int) -> int:
    found = text.find("\n", start, end)
    return end if found < 0 else found


def _end_of_lines(text: str, start: int, end: int, goes_on: Callable[[int], bool]) -> int:
    """Return the end of the line at ``start`` and of the lines after it that belong to it."""
    stop = _line_end(text, start, end)
    while stop < end and goes_on(stop + 1):
        stop = _line_end(text, stop + 1, end)
    return stop


def _goes_on(text: str, line: int, end: int, quoted: bool) -> bool:
    """Return whether a line continues the item above it."""
    prefix = _QUOTE.match(text, line, end) if quoted else None
    line = prefix.end() if prefix else line
    return line < end and text[line] != "\n" and _ITEM.match(text, line, end) is None
