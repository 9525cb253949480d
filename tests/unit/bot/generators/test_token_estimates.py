"""Estimated tokens are on the high side in every script; see the real server's test for the counts."""

from __future__ import annotations

import pytest

from bot.generators.prompt import estimate_tokens, estimated_cut
from tests.unit.bot.generators.token_samples import COUNTED


@pytest.mark.parametrize("name", COUNTED)
def test_an_estimate_is_on_the_high_side_in_every_script(name):
    text, n_tokens = COUNTED[name]

    assert 0.85 * n_tokens <= estimate_tokens(text) <= 2.6 * n_tokens


def test_over_all_scripts_the_estimate_is_safe_and_close():
    shares = [estimate_tokens(text) / n for text, n in COUNTED.values()]

    assert sum(share < 1 for share in shares) <= len(shares) // 25
    assert sum(shares) / len(shares) < 1.4


def test_control_three_signs_a_token_are_far_too_few():
    """The estimate that this one replaced: three ASCII signs a token, one other sign a token."""

    def simple(text: str) -> int:
        n_ascii = sum(char.isascii() for char in text)
        return n_ascii // 3 + len(text) - n_ascii + 1

    shares = [simple(text) / n for text, n in COUNTED.values()]

    assert sum(share < 1 for share in shares) > len(shares) * 0.8
    assert min(shares) < 0.36


@pytest.mark.parametrize("name", COUNTED)
def test_an_estimate_grows_with_the_text_and_a_cut_is_the_longest_start(name):
    text, _ = COUNTED[name]
    sizes = [estimate_tokens(text[:n]) for n in range(len(text) + 1)]

    assert sizes == sorted(sizes)
    for budget in (1, 5, 20):
        kept = estimated_cut(text, budget)
        assert text.startswith(kept)
        assert estimate_tokens(kept) <= budget
        assert kept == text or estimate_tokens(text[: len(kept) + 1]) > budget


def test_half_a_character_is_counted():
    assert estimate_tokens("\ud83d") == 4
