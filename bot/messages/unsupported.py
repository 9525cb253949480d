"""Rewrites markup that Discord does not render: tables, small headings and formulas.

A table becomes a block of code with aligned columns if it is narrow and holds words only, else a list.
Headings below the third level become headings of the third level. Code is left as it is. Runs once for each
candidate, before the output filter. Pure text, linear in its length.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

from bot.messages.formulas import without_formulas
from bot.messages.markdown import Kind, Part, parts_of

MOST_WIDE = 56
"""Widest table that is shown with aligned columns, characters: about the width of a phone."""

_HEADING = re.compile(r"^( {0,3}(?:> )?)#{4,6}(?=[ \t]+\S)", re.MULTILINE)
_RULE = re.compile(r"\A[ \t]*+\|?[ \t]*+:?-+:?[ \t]*+(?:\|[ \t]*+:?-+:?[ \t]*+)*+\|?[ \t]*+")
_CELL = re.compile(r"\\.|\|\|[^|\n]++\|\||`[^`\n]*+`|(\|)", re.DOTALL)
_MARKUP = re.compile(r"[*_~`|\\<\[]")
_BREAK = re.compile(r"<br ?/?>", re.IGNORECASE)
_BOLD = re.compile(r"\*\*([^*|]*+)\*\*")


def readable(text: str, *, unfinished: bool = False) -> str:
    """Return a text in which Discord renders all markup.

    Args:
        text: A candidate.
        unfinished: Whether it is a draft, whose last table may still grow and is left as it is.
    """
    pieces: list[str] = []
    ends = Part(Kind.CODE, len(text), len(text))
    code = [part for part in parts_of(text) if part.kind in (Kind.CODE, Kind.DOUBTFUL)]
    for before, part in pairwise([Part(Kind.CODE, 0, 0), *code, ends]):
        prose = text[before.end : part.start]
        pieces += [_HEADING.sub(r"\1###", without_formulas(prose)), text[part.start : part.end]]
    return _without_tables("".join(pieces), unfinished=unfinished)


def _without_tables(text: str, *, unfinished: bool) -> str:
    """Return a text with its tables rewritten."""
    if "|" not in text or "-" not in text:
        return text
    lines, in_code = text.split("\n"), _lines_in_code(text)
    done: list[str] = []
    number = 0
    while number < len(lines):
        end = _table_end(lines, number, in_code)
        if end and not (unfinished and end == len(lines)):
            done += _rewritten([_cells(line) for line in (lines[number], *lines[number + 2 : end])])
            number = end
        else:
            done.append(lines[number])
            number += 1
    return "\n".join(done)


def _lines_in_code(text: str) -> set[int]:
    """Return the numbers of the lines that a piece of code of several lines touches."""
    found: set[int] = set()
    line, last = 0, 0
    for part in parts_of(text):
        line += text.count("\n", last, part.start)
        n_more = text.count("\n", part.start, part.end)
        if part.kind in (Kind.CODE, Kind.DOUBTFUL) and n_more:
            found.update(range(line, line + n_more + 1))
        line, last = line + n_more, part.end
    return found


def _table_end(lines: list[str], number: int, in_code: set[int]) -> int:
    """Return the number of the line after the table that begins at a line, 0 where none does."""
    if number + 1 >= len(lines) or "|" not in lines[number] or "|" not in lines[number + 1]:
        return 0
    if _RULE.fullmatch(lines[number + 1]) is None or not in_code.isdisjoint((number, number + 1)):
        return 0
    end = number + 2
    while end < len(lines) and "|" in lines[end] and end not in in_code:
        end += 1
    # Half of a spoiler ends elsewhere: a rewritten row could show what it hides.
    odd = any(line.count("||") % 2 for line in lines[number:end] if not line.strip().strip("|").strip() == "")
    n_columns = len(_cells(lines[number + 1]))
    return 0 if odd or len(_cells(lines[number])) != n_columns else end


def _cells(line: str) -> list[str]:
    """Return the cells of a row; a spoiler, code and an escaped sign hold no border."""
    line = line.strip()
    borders = [match.start() for match in _CELL.finditer(line) if match[1]]
    cells = [line[a + 1 : b].strip() for a, b in pairwise([-1, *borders, len(line)])]
    if len(cells) > 1 and not cells[0]:
        cells = cells[1:]
    return cells[:-1] if len(cells) > 1 and not cells[-1] else cells


def _rewritten(rows: list[list[str]]) -> list[str]:
    """Return the lines that replace a table."""
    n_columns = len(rows[0])
    rows = [[*row, *[""] * (n_columns - len(row))][: max(n_columns, len(row))] for row in rows]
    bare = [[_BOLD.sub(r"\1", _BREAK.sub(" ", cell)) for cell in row] for row in rows]
    widths = [max(_width(row[i]) if i < len(row) else 0 for row in bare) for i in range(n_columns)]
    wordy = not any(_MARKUP.search(cell) for row in bare for cell in row)
    if (
        wordy
        and sum(widths) + 2 * (n_columns - 1) <= MOST_WIDE
        and all(len(row) == n_columns for row in bare)
    ):
        return ["```", *_aligned(bare, widths), "```"]
    return _listed(rows)


def _aligned(rows: list[list[str]], widths: list[int]) -> list[str]:
    """Return rows with columns of the same width, and a line under the first."""
    lines = [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _listed(rows: list[list[str]]) -> list[str]:
    """Return each row as an item: its first cell, then the others, each with the name of its column."""
    names = [_BOLD.sub(r"\1", name) for name in rows[0]]
    lines = []
    for row in rows[1:]:
        cells = [_BREAK.sub(" ", cell) for cell in row]
        named = [
            f"{names[i]}: {cell}" if i < len(names) and names[i] else cell
            for i, cell in enumerate(cells)
            if i and cell
        ]
        first = cells[0] if cells[0].startswith("**") or not cells[0] else f"**{cells[0]}**"
        lines.append(f"- {' · '.join([*([first] if first else []), *named])}")
    return lines or ["- " + " · ".join(names)]


def _width(text: str) -> int:
    """Return the columns that a text takes: two for a wide character, none for a combining one."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
