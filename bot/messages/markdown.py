"""Reads the parts of Discord's markdown that decide what is a link and what is code.

One scan from left to right, without backtracking, shared by the output filter, the tidying and the splitter.
The rules are those of Discord: the rule that begins first wins, a backslash escapes a sign outside of code,
code spans close with a run of as many backticks, and labels of links may hold brackets and line breaks.

Not every rule of Discord is rebuilt. Where another rule (bold, a spoiler, a list, a quote, a link) could end
inside of what looks like code, the code is *doubtful*: its text is kept unchanged, and its links count as
live. After doubtful code all further code is doubtful. Pure text, linear in its length.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

IGNORABLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
"""Default-ignorable code points of Unicode, as the inside of a character class: they are not shown."""

_STOP = re.compile(
    r"\\[^0-9A-Za-z\s]|(?P<ticks>`++)|(?P<mark>\*++|_++|~~++|\|\|++)|(?P<line>\n)"
    r"|(?P<address>(?:https?|ftps?|steam|discord)://)|(?P<angle><)|(?P<open>\[)|(?P<close>\])",
    re.IGNORECASE,
)
_ADDRESS_END = re.compile(r"[^\s<]*+")
_ANGLE = re.compile(
    r"<(?:[a-z][a-z0-9+.-]{0,30}:/[^\s<>]++|(?:mailto|tel|sms):[^\s<>]++|[^\s<>@]++@[^\s<>@.]++\.[^\s<>]++"
    r"|\+[\d(][\d() .-]{2,30})>",
    re.IGNORECASE,
)
_TARGET = re.compile(
    r"\((\s*+<?[^\s<>()]*+(?:\([^()\s]*+\)[^\s<>()]*+)*+>?)(?:\s++(?:\"[^\"\n]{0,300}\"|'[^'\n]{0,300}'))?\s*+\)"
)
_TARGET_START = re.compile(rf"\([\s<{IGNORABLE}]*+")
_NOT_READ = re.compile(rf"[\\{IGNORABLE}]")
_ABSOLUTE = re.compile(
    r"\A(?:[a-z][a-z0-9+.-]*:[^\s)]|//[^\s)]|www\.|[^\s()/@:]+\.[a-z]{2,}(?::\d+)?/)", re.IGNORECASE
)
_BLOCK = re.compile(r"(?<![ \t\d])[ \t]*+(?:>|#|-#|[-*+][ \t]|\d++[.)])")
_ITEM = re.compile(r"(?:^|\n)[ \t]*+(?:[-*+]|\d++[.)])[ \t]")
_SIGN = re.compile(r"(?:https?|steam)://[^\s<]++|([\\*_~|`\[\]<>#])")
"""An address, in which a backslash would be a part of it, or a sign with a meaning in markdown."""
_LANGUAGE = re.compile(r"(?<=```)[A-Za-z0-9_+\-.#]++\n")
_TICKS = re.compile("`++")


class Kind(StrEnum):
    """Kind of a part of a text."""

    CODE = "code"
    """Code in every reading: Discord renders no link in it."""
    DOUBTFUL = "doubtful code"
    """Code in one reading, text in another."""
    MASKED = "masked link"
    """``[label](address)``."""
    ADDRESS = "address"
    """An address in running text, ``<`` and ``>`` included."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text.

    Attributes:
        kind: Kind.
        start: First position.
        end: Position after it.
        label: Label of a masked link.
        target: Address of a masked link.
    """

    kind: Kind
    start: int
    end: int
    label: str = ""
    target: str = ""


def parts_of(text: str) -> list[Part]:
    """Return the code, masked links and addresses of a text, in order, without overlaps.

    Running text between them is left out. Of masked links inside each other only the innermost is listed.
    """
    found = sorted(_Scan(text).parts(), key=lambda part: (part.start, -part.end))
    parts: list[Part] = []
    for part in found:
        if parts and part.start < parts[-1].end:
            if not (part.kind is Kind.MASKED and parts[-1].kind is Kind.MASKED):
                continue
            parts.pop()  # the outer label
        parts.append(part)
    return parts


def escaped(text: str) -> str:
    """Return one line of text with a backslash before each sign of markdown, so that it is shown as it is.

    Linear in the text; ``discord.utils.escape_markdown`` is cubic.
    """
    return _SIGN.sub(lambda found: f"\\{found[1]}" if found[1] else found[0], text)


def without_code(text: str) -> str:
    """Return a text with a space for each piece of code; doubtful code is kept."""
    pieces, last = [], 0
    for part in parts_of(text):
        if part.kind is Kind.CODE:
            pieces += [text[last : part.start], " "]
            last = part.end
    return "".join([*pieces, text[last:]])


def has_masked_link(prose: str) -> bool:
    """Return whether a text without code may hold a masked link, in any reading of brackets and escapes."""
    first = prose.find("[")
    at = prose.find("](", first) if first >= 0 else -1
    while at >= 0:
        if _is_target(prose, at + 1):
            return True
        at = prose.find("](", at + 2)
    return False


def _is_target(text: str, position: int) -> bool:
    """Return whether a whole address may begin in the round bracket at a position."""
    begin = _TARGET_START.match(text, position)
    if begin is None:
        return False
    start = text[begin.end() : begin.end() + 300]
    return bool(_ABSOLUTE.match(_NOT_READ.sub("", start)))


class _Scan:
    """State of one scan.

    Attributes:
        doubt: Whether another reading of the text so far is possible, in which backticks pair differently.
        seen: Marks outside of code so far, each of which may begin a format that ends further on.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._runs: dict[int, list[int]] = {}  # length of a run of backticks -> its positions
        for run in _TICKS.finditer(text):
            self._runs.setdefault(len(run.group()), []).append(run.start())
        self.doubt = False
        self.seen: set[str] = set()
        self._brackets: list[int] = []
        self._address_end = 0
        self._in_block = bool(_BLOCK.match(text))
        self._in_list = bool(_ITEM.match(text))

    def parts(self) -> Iterator[Part]:
        """Yield the parts; an outer masked link comes after the inner one."""
        text, position = self._text, 0
        while stop := _STOP.search(text, position):
            position = stop.end()
            match stop.lastgroup:
                case "ticks":
                    code = self._code(stop.start(), stop.end())
                    if code is not None:
                        yield code
                        position = code.end
                case "mark":
                    self._see_mark(stop.group(), text[stop.end() : stop.end() + 1])
                case "line":
                    self._in_block = bool(_BLOCK.match(text, position))
                    self._in_list |= self._in_block
                case "address" if stop.start() >= self._address_end:
                    if address := self._address(stop.start(), stop.end()):
                        yield address
                case "angle":
                    self.seen.add("<")
                    if angle := _ANGLE.match(text, stop.start()):
                        yield Part(Kind.ADDRESS, angle.start(), angle.end())
                case "open":
                    self.seen.add("[")
                    self._brackets.append(stop.start())
                case "close":
                    if self._brackets and (link := self._masked(self._brackets.pop(), stop.start())):
                        yield link

    def _see_mark(self, run: str, after: str) -> None:
        """Remember a mark that may begin a format."""
        sign = run[0]
        if sign in "*_" and not (len(run) == 1 and after.isspace()):
            self.seen.add(sign)
        if len(run) >= 2:
            self.seen.add(sign * 2)

    def _address(self, start: int, scheme_end: int) -> Part | None:
        found = _ADDRESS_END.match(self._text, start)
        whole = found.group() if found else ""
        self._address_end = start + len(whole)
        self.doubt |= "`" in whole  # Discord counts backticks in an address as part of it
        kept = whole.partition("`")[0].rstrip(".,!?;:'\"|*_~")
        if kept.endswith((")", "]")):
            kept = _balanced(kept)
        return Part(Kind.ADDRESS, start, start + len(kept)) if start + len(kept) > scheme_end else None

    def _masked(self, start: int, close: int) -> Part | None:
        if not _is_target(self._text, close + 1):
            return None
        found = _TARGET.match(self._text, close + 1)
        if found is None:
            return None
        return Part(
            Kind.MASKED, start, found.end(), self._text[start + 1 : close], found.group(1).strip(" \t\n<>")
        )

    def _code(self, start: int, after: int) -> Part | None:
        """Return the code that begins with the run of backticks at ``start``, or None if it is text."""
        n = after - start
        fenced = self._block(start, n) if n >= 3 else None
        if fenced is not None:
            return fenced
        end = self._closing(n, after)
        if end is None:
            # A shorter part of the run may still open a code span.
            self.doubt |= any(self._closing(length, after) for length in self._runs if length < n)
            if n >= 3 and self._text[after:].strip():  # posted with a fence at its end
                self.doubt = True
                return Part(Kind.DOUBTFUL, start, len(self._text))
            return None
        self.doubt |= n >= 3
        return self._judged(start, end, after, end - n)

    def _block(self, start: int, n: int) -> Part | None:
        """Return the fenced block at ``start``, or None if no fence closes it."""
        text, opened = self._text, start + 3
        plain = self._fence_after(opened)
        language = _LANGUAGE.match(text, opened)
        end = self._fence_after(language.end()) if language else plain
        self.doubt |= n > 3 or end != plain
        end = end or plain
        if end is None:
            return None
        self.doubt |= text.startswith("`", end)
        while text.startswith("`", end):
            end += 1
        return self._judged(start, end, opened, end - 3)

    def _fence_after(self, position: int) -> int | None:
        """Return the end of the first fence after at least one sign that is no line break."""
        while self._text.startswith("\n", position):
            position += 1
        at = self._text.find("```", position + 1)
        return None if at < 0 else at + 3

    def _closing(self, n: int, after: int) -> int | None:
        """Return the end of the next run of exactly ``n`` backticks."""
        runs = self._runs.get(n, [])
        index = bisect_right(runs, after - 1)
        return runs[index] + n if index < len(runs) else None

    def _judged(self, start: int, end: int, inner: int, inner_end: int) -> Part:
        """Return code, which is doubtful where another rule may end inside of it."""
        inside = self._text[inner:inner_end]
        block = self._text.startswith("```", start)
        lines = "\n" in inside and (
            not block or self._in_block or (self._in_list and _ITEM.search(inside) is not None)
        )
        ends = {"[": "](", "<": ">"}
        self.doubt |= lines or any(ends.get(mark, mark) in inside for mark in self.seen)
        if "\n" in inside:
            self._in_block = False
        return Part(Kind.DOUBTFUL if self.doubt else Kind.CODE, start, end)


def _balanced(address: str) -> str:
    """Return an address without closing brackets at its end that it does not open."""
    for opening, closing in ("()", "[]"):
        extra = address.count(closing) - address.count(opening)
        while extra > 0 and address.endswith(closing):
            address, extra = address[:-1].rstrip(".,!?;:'\""), extra - 1
    return address
