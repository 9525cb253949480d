"""Loops are found in prose; code, which repeats itself by nature, is a loop only beyond any board."""

from __future__ import annotations

import itertools

import pytest

from bot.moderation import loops
from bot.moderation.output_filter import Drop, OutputFilter

FILTER = OutputFilter()
CHESS = "\n".join(
    (
        "\u265c\u265e\u265d\u265b\u265a\u265d\u265e\u265c",
        "\u265f" * 8,
        *["." * 8] * 4,
        "\u2659" * 8,
        "\u2656\u2658\u2657\u2655\u2654\u2657\u2658\u2656",
    )
)
BOARDS = {
    "zeros": "\n".join(["0 0 0 0 0 0 0 0"] * 8),
    "chess": CHESS,
    "letters": "\n".join(["r n b q k b n r", "p p p p p p p p", *[". . . . . . . ."] * 4, "P P P P P P P P"]),
    "go": "\n".join(["+ " * 19] * 19) + "x",
    "minesweeper": "\n".join(["\U0001f7e6" * 9] * 9) + "1",
    "frame": "\n".join(["+---+---+---+", "|   |   |   |"] * 8) + "\nA B",
    "identity": "\n".join(" ".join("1" if i == j else "0" for j in range(12)) for i in range(12)),
    "life": "\n".join(["....#....#....#"] * 15) + "a",
    "truth table": "\n".join(f"{a} {b} {a & b}" for a, b in [*itertools.product((0, 1), repeat=2)] * 4),
    "bits": "0" * 192,
    "rows": "\n".join(["<tr><td>0</td><td>0</td><td>0</td></tr>"] * 20),
    "python": "\n".join(["board.append([0, 0, 0, 0, 0, 0, 0, 0])"] * 8),
}
FRAMES = (
    "Here is the board:\n```\n{}\n```\nHave fun!",
    "**The board:**\n```text\n{}\n```",
    "- a board\n\n```\n{}\n```",
    "Use <b> and *this*:\n```\n{}\n```",
    "So far:\n```\n{}",
)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("board", BOARDS)
def test_a_board_in_code_is_no_loop(board, frame):
    assert FILTER.reason(frame.format(BOARDS[board])) is None


@pytest.mark.parametrize(
    "text",
    [
        "ha ha " * 30,
        "Look:\n```py\nx = 1\n```\n" + "It goes on and on. " * 10,
        "```\n" + "ha\n" * 60 + "```",
        "```\n" + "print('hello')\n" * 30,
        "```\n" + "ha ha " * 40,
        "`" + "ha " * 200 + "`",
        "Look at this:\n```py\nprint('hello world')\n```\n" * 5,
    ],
)
def test_a_loop_is_found_in_prose_and_in_endless_code(text):
    assert FILTER.reason(text) is Drop.LOOP


def test_control_a_board_that_is_read_as_prose_is_a_loop(monkeypatch):
    monkeypatch.setattr(loops, "parts_of", lambda text: [])

    assert FILTER.reason(FRAMES[0].format(BOARDS["zeros"])) is Drop.LOOP
