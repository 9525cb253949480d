"""Random changes of a reply's text that should not change whether it is liked much.

Data augmentation for the adapting of the encoder: a reply is shortened, loses a sentence, its capitals or its
emoji, or gets another emoji. Labels and style features stay those of the original, so the adapter learns an
embedding that does not repeat what the style features already state. Used by
:mod:`personalization.lab.adapting.steps`; imports only NumPy and the list of emoji.

Source: Wei and Zou (2019), EDA: Easy data augmentation techniques, for random changes of words. We change the
form instead, because synonyms would need a lexicon.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import emoji
import numpy as np

SHARE = 0.25
"""Probability of each kind of change."""
ADDED = ("🙂", "😂", "👍", "🎉", "❤️", "🤔")
"""Emoji that are added at the end."""
_SENTENCE = re.compile(r".+?(?:[.!?…]\s+|[。！？]\s*|$)", re.DOTALL)
"""A sentence with the space after it."""


def augmented(text: str, rng: np.random.Generator) -> str:
    """Change a text at random; it never becomes empty, and no word is added.

    Args:
        text: A reply.
        rng: Source of chance; equal states give equal texts.
    """
    chosen = rng.random(len(_CHANGES)) < SHARE
    for change, is_chosen in zip(_CHANGES, chosen, strict=True):
        if is_chosen:
            text = change(text, rng).strip() or text
    return text


def truncated(text: str, rng: np.random.Generator) -> str:
    """Keep at least the first half of the words."""
    words = text.split(" ")
    return " ".join(words[: int(rng.integers((len(words) + 1) // 2, len(words) + 1))])


def without_a_sentence(text: str, rng: np.random.Generator) -> str:
    """Drop one sentence of several."""
    sentences: list[str] = _SENTENCE.findall(text)
    if len(sentences) < 2:
        return text
    del sentences[int(rng.integers(len(sentences)))]
    return "".join(sentences).strip()


def in_small_letters(text: str, rng: np.random.Generator) -> str:
    """Write all letters small."""
    return text.lower()


def other_emoji(text: str, rng: np.random.Generator) -> str:
    """Remove all emoji, or add one where there is none."""
    without = emoji.replace_emoji(text, "")
    return without if without != text else f"{text} {ADDED[int(rng.integers(len(ADDED)))]}"


_CHANGES: tuple[Callable[[str, np.random.Generator], str], ...] = (
    truncated,
    without_a_sentence,
    in_small_letters,
    other_emoji,
)
