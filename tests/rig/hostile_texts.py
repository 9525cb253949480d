"""Texts that make a backtracking or quadratic search slow, and a check that a search is linear in them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from tests.timing import old_objects_aside

PIECES = [
    " ", "\t", "\r", "\n", "\r\n", "\u3000", "\u200b", "\u0301", "!", ".", "...", "…", "?", ",", ":",
    "-", "*", "**", "_", "__", "~", "~~", "|", "||", "`", "``", "```", "'", '"', "’", "(", ")", "[",
    "]", "[]", "](", "[a](", "<", ">", "<>", "<|", "|>", "<a:", "<@", "<@1", "</", "#", "# ", "> ",
    "- ", "1. ", "\\", "\\`", "/", "//", "://", "http://", "https://a", "discord.gg/", "@", "@everyone",
    "a", "aa", "a ", "ab", "a.", "a-", "a_b", "A", "1", "1 ", "i!", "é", "ß", "я", "а", "日", "か", "ก",
    "🙂", "👨‍👩‍👧", "🇩🇪", "\ufe0f", "\u200d", "<think>", "</think>", "user:", "User: ", "\nuser",
    "system", "[INST]", "<|im_start|>", "<s>", "{", "}", "=", "&", "%", "$", "\x00",
]  # fmt: skip
ENOUGH_S = 0.020
"""A search of the long text that takes no longer than this cannot be quadratic."""
SHORT, LONG = 1_000, 16_000
TRIES = 4


def texts(pieces: Iterable[str] = PIECES) -> Iterator[tuple[str, Callable[[int], str]]]:
    """Yield (description, text of about n characters) for every piece, alone and between others."""
    for piece in pieces:
        yield f"{piece!r} repeated", lambda n, p=piece: p * (n // len(p))
        yield f"{piece!r} repeated, then z", lambda n, p=piece: p * (n // len(p)) + "z"
        yield f"z, then {piece!r} repeated, then a blank", lambda n, p=piece: "z" + p * (n // len(p)) + " !"
        yield f"words with {piece!r}", lambda n, p=piece: ("ab" + p) * (n // (len(p) + 2))


def slow_text(
    work: Callable[[str], object], pieces: Iterable[str] = PIECES, *, each_s: float = 1e-5
) -> str | None:
    """Return the description of a text whose cost grows faster than its length.

    The time is this thread's CPU time. What seems slow is measured again, so a busy machine has no effect.
    What is slow for a short text is not tried with a long one, so that an exponential search ends.

    Args:
        work: The search.
        pieces: What the texts are made of.
        each_s: Most time for one character that still counts as fast, seconds.
    """
    with old_objects_aside():
        return _slow_text(work, pieces, each_s)


def _slow_text(work: Callable[[str], object], pieces: Iterable[str], each_s: float) -> str | None:
    for what, text in texts(pieces):
        most = max(ENOUGH_S, SHORT * each_s)
        short = _best_s(work, text(SHORT), most)
        if short > most:
            return f"{what}: {SHORT} characters take {short:.3f} s"
        most = _most_for_long(short)
        long = _best_s(work, text(LONG), most)
        # Both lengths are measured anew in turn: a processor that slowed down between them slows both.
        for _ in range(TRIES):
            if not most < long < 4 * most:
                break
            short = max(short, _best_s(work, text(SHORT), 0.0))
            most = _most_for_long(short)
            long = min(long, _best_s(work, text(LONG), most))
        if long > most:
            return f"{what}: {LONG} characters take {long:.3f} s, {SHORT} take {short:.4f} s"
    return None


def _most_for_long(short_s: float) -> float:
    """Return the longest time that a linear search may take for the long text, seconds."""
    return max(ENOUGH_S, 2 * LONG / SHORT * max(short_s, 2e-4))


def _best_s(work: Callable[[str], object], text: str, most: float) -> float:
    """Return the CPU time of a search, seconds: the first that is not near above ``most``, else the best."""
    best = float("inf")
    for _ in range(TRIES):
        started = time.thread_time()
        work(text)
        best = min(best, time.thread_time() - started)
        if not most < best < 4 * most:
            break
    return best


def literals(pattern: str) -> list[str]:
    """Return pieces made of the characters that a pattern names, alone and in pairs of neighbours."""
    named = re.findall(r"\\?[^\w\s\\]|\w|\s", pattern)
    signs = list(dict.fromkeys(sign[-1] for sign in named if not sign.isalnum()))
    words = re.findall(r"[a-z]{2,}", pattern)
    pairs = [a + b for a, b in pairwise(signs)]
    return list(dict.fromkeys(signs + pairs + words))
