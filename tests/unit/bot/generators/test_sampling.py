"""Temperatures per row, and stopping between two tokens."""

from __future__ import annotations

import threading

import torch

from bot.generators.sampling import LeastSentences, RowTemperatures, StopWhenSet


def test_each_row_is_divided_by_its_own_temperature():
    processor = RowTemperatures([0.5, 2.0], torch.device("cpu"))

    scaled = processor(torch.zeros((2, 1), dtype=torch.long), torch.tensor([[1.0, 3.0], [1.0, 3.0]]))

    assert scaled.tolist() == [[2.0, 6.0], [0.5, 1.5]]


def test_a_row_of_temperature_zero_keeps_only_its_likeliest_token():
    processor = RowTemperatures([0.0], torch.device("cpu"))

    scaled = processor(torch.zeros((1, 1), dtype=torch.long), torch.tensor([[1.0, 1.001, -5.0]]))

    assert scaled.softmax(dim=-1).tolist() == [[0.0, 1.0, 0.0]]


def test_rows_stop_once_any_event_is_set():
    events = threading.Event(), threading.Event()
    criterion = StopWhenSet(*events)
    ids = torch.zeros((2, 3), dtype=torch.long)

    before = criterion(ids, None).tolist()
    events[1].set()

    assert (before, criterion(ids, None).tolist()) == ([False, False], [True, True])


END, STOP, WORD = 0, 1, 2


def ends_after(tokens: list[int], *least: int) -> list[bool]:
    """Return for each row whether it may end after a prompt of one token and these tokens."""
    processor = LeastSentences(
        1, least, {END}, lambda row: "".join(". " if token == STOP else "Word" for token in row.tolist())
    )
    ids = torch.tensor([[WORD, *tokens]] * len(least))
    return [bool(row[END].isfinite()) for row in processor(ids, torch.zeros((len(least), 3)))]


def test_a_row_does_not_end_before_its_fewest_sentences():
    assert ends_after([], 0, 2) == [True, False]
    assert ends_after([WORD, STOP], 0, 1, 2) == [True, True, False]
    assert ends_after([WORD, STOP, WORD, STOP], 2, 3) == [True, False]
