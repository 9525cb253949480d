"""Features of a reply's text: the frozen encoder's embedding, and named style features.

Heads learn from these features. They are computed from the reply's own text alone. A member's message is
encoded separately from the candidates, so that not even its length (as padding) changes the last bit of a
feature. Style features have names, so that a choice can be explained. Fixed constants bring each to about
unit scale, not statistics of members' data.

Imports the encoder's protocol; used by the ranker, the rounds and the evaluation.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import emoji
import numpy as np

from personalization.arrays import FloatArray
from personalization.encoding.encoder import Encoder

CLIP = 3.0
"""Largest absolute value of a style feature, so that one unusual text does not decide a head."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FIRST_PERSON = _words("i i'm i'd i'll i've me my mine myself we we're our us")
SECOND_PERSON = _words("you you're you'd you'll you've your yours yourself u")
HEDGES = _words(
    "maybe perhaps possibly probably might could seems seem likely somewhat sometimes usually generally "
    "guess think unsure depends roughly apparently"
)
GREETINGS = _words("hi hey hello hiya howdy yo welcome greetings morning evening sup")
COURTESY = _words("please thanks thank sorry apologies appreciate glad welcome kindly")
POSITIVE = _words(
    "good great nice love lovely awesome amazing wonderful fantastic excellent happy fun enjoy beautiful "
    "best cool perfect glad excited exciting delicious brilliant sweet yay congrats congratulations like "
    "better cosy cozy"
)
NEGATIVE = _words(
    "bad sad hate terrible awful horrible worst boring ugly angry annoying stupid wrong fail failed "
    "problem pain unfortunately worse sick hurt hard difficult afraid never nothing"
)
HUMOUR = _words("haha hahaha lol lmao rofl hehe joke joking funny kidding pun silly xd")


class _Text:
    """One text, parsed once for all style features."""

    def __init__(self, text: str) -> None:
        self.raw = text
        self.chars = max(1, len(text))
        self.lines = text.splitlines()
        self.emoji = emoji.emoji_count(text) + len(re.findall(r"<a?:\w+:\d+>", text))

    @cached_property
    def words(self) -> list[str]:
        return re.findall(r"[^\W_]+(?:'[^\W_]+)?", self.raw.lower().replace("’", "'"))

    @cached_property
    def n_words(self) -> int:
        return max(1, len(self.words))

    @cached_property
    def sentences(self) -> int:
        # Matches only from the start of a run, with a possessive quantifier, so it is linear for any text.
        return max(1, len(re.findall(r"(?<![.!?…])[.!?…]++(?=\s|$)", self.raw)))

    def share(self, lexicon: frozenset[str]) -> float:
        """Return the square root of the share of words in the lexicon, in which the first one counts most."""
        return math.sqrt(sum(word in lexicon for word in self.words) / self.n_words)

    def signs(self, pattern: str) -> float:
        """Return the number of matches of a pattern, on a logarithmic scale."""
        return math.log1p(len(re.findall(pattern, self.raw, re.MULTILINE)))


@dataclass(frozen=True, slots=True)
class StyleFeature:
    """A named measure of a text, and constants for unit scale: ``(measure - centre) / scale``."""

    name: str
    centre: float
    scale: float
    measure: Callable[[_Text], float]


STYLE: tuple[StyleFeature, ...] = (
    StyleFeature("length_chars", 4.5, 1.0, lambda t: math.log1p(t.chars)),
    StyleFeature("length_words", 3.0, 1.0, lambda t: math.log1p(len(t.words))),
    StyleFeature("sentences", 1.0, 0.5, lambda t: math.log1p(t.sentences)),
    StyleFeature("sentence_words", 2.2, 0.6, lambda t: math.log1p(t.n_words / t.sentences)),
    StyleFeature("word_length", 4.2, 0.8, lambda t: sum(map(len, t.words)) / t.n_words),
    StyleFeature("different_words", 0.9, 0.1, lambda t: len(set(t.words)) / t.n_words),
    StyleFeature("lines", 0.9, 0.5, lambda t: math.log1p(len(t.lines))),
    StyleFeature("emoji", 0.2, 0.4, lambda t: math.log1p(t.emoji)),
    StyleFeature("questions", 0.3, 0.4, lambda t: t.signs(r"\?+")),
    StyleFeature("ends_with_question", 0.35, 0.5, lambda t: float(t.raw.rstrip().endswith("?"))),
    StyleFeature("exclamations", 0.3, 0.45, lambda t: t.signs(r"!+")),
    StyleFeature("ellipses", 0.05, 0.25, lambda t: t.signs(r"\.{3,}|…")),
    StyleFeature("commas", 0.7, 0.6, lambda t: t.signs(r"[,;:](?=\s)")),
    StyleFeature("list_items", 0.1, 0.6, lambda t: t.signs(r"^[^\S\n]*+(?:[-*•]|\d++[.)])\s")),
    StyleFeature("code", 0.05, 0.4, lambda t: t.signs(r"(?<!`)`++[^`]")),
    StyleFeature("markdown", 0.1, 0.5, lambda t: t.signs(r"\*\*|__|~~|\|\||^#+\s|^>\s")),
    StyleFeature("links", 0.03, 0.3, lambda t: t.signs(r"https?://")),
    StyleFeature("digits", 0.06, 0.12, lambda t: math.sqrt(sum(c.isdigit() for c in t.raw) / t.chars)),
    StyleFeature("upper_case", 0.18, 0.12, lambda t: math.sqrt(sum(c.isupper() for c in t.raw) / t.chars)),
    StyleFeature("first_person", 0.2, 0.18, lambda t: t.share(FIRST_PERSON)),
    StyleFeature("second_person", 0.17, 0.17, lambda t: t.share(SECOND_PERSON)),
    StyleFeature("hedges", 0.06, 0.12, lambda t: t.share(HEDGES)),
    StyleFeature("greeting", 0.06, 0.2, lambda t: t.share(GREETINGS)),
    StyleFeature("courtesy", 0.06, 0.15, lambda t: t.share(COURTESY)),
    StyleFeature("positive_tone", 0.12, 0.17, lambda t: t.share(POSITIVE)),
    StyleFeature("negative_tone", 0.06, 0.13, lambda t: t.share(NEGATIVE)),
    StyleFeature("humour", 0.03, 0.15, lambda t: t.share(HUMOUR)),
)

STYLE_FEATURES: tuple[str, ...] = tuple(feature.name for feature in STYLE)

_PROBES = (
    "",
    "Hi! Maybe try **tofu**, it's great... 😄 Do you like it?",
    "# Plan\n- I could be wrong, sorry\n1. see https://example.org\n> NEVER `rm` 42 files; haha",
)
"""Texts that exercise every style feature; their values are a fingerprint of the code above."""


def style_features(text: str) -> FloatArray:
    """Compute the style features of one text.

    Returns:
        One float32 for each of :data:`STYLE_FEATURES`, within -:data:`CLIP` to :data:`CLIP`.
    """
    parts = _Text(text)
    values = [(feature.measure(parts) - feature.centre) / feature.scale for feature in STYLE]
    return np.clip(np.array(values, dtype=np.float32), -CLIP, CLIP)


@dataclass(frozen=True, eq=False, slots=True)
class Encoded:
    """Features and relevance of candidates, for the ranker.

    Attributes:
        features: Features of the candidates' own texts, ``k x d`` float32.
        relevance: Cosine of message and candidate, ``k`` float32; 0 for a blank message.
    """

    features: FloatArray
    relevance: FloatArray


class FeatureMap:
    """Texts -> ``n x d`` features: the embedding first, then the style features.

    Attributes:
        feature_id: Id of the encoder, the constants and the measures; equal ids mean equal features.
        dim: Number of features (d).
        n_embedding: Number of features of the embedding, which come first.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.n_embedding = encoder.dim
        self.dim = encoder.dim + len(STYLE)
        self.feature_id = _feature_id(encoder.encoder_id)

    def features(self, texts: Sequence[str]) -> FloatArray:
        """Compute the features of replies. Blocks; call from a thread.

        Returns:
            ``n x d`` float32.
        """
        return self._with_style(texts, self._encoder.encode(texts))

    def encode(self, message: str, candidates: Sequence[str]) -> Encoded:
        """Compute the candidates' features and their relevance to the message. Blocks; call from a thread.

        The message has a forward pass of its own and leaves this method only as ``k`` cosines. They come from
        the encoder before any adapting, because labels must not decide what fits a message.
        """
        embeddings = self._encoder.encode(candidates)
        relevance = np.zeros(len(candidates), dtype=np.float32)
        if message.strip():
            frozen = self._encoder.frozen
            plain = embeddings if frozen is self._encoder else frozen.encode(candidates)
            relevance = plain @ frozen.encode([message])[0]  # (k,)
        return Encoded(self._with_style(candidates, embeddings), relevance)

    def _with_style(self, texts: Sequence[str], embeddings: FloatArray) -> FloatArray:
        style = np.array([style_features(text) for text in texts], dtype=np.float32)
        return np.concatenate([embeddings, style.reshape(len(texts), len(STYLE))], axis=1)  # (n, d)


def _feature_id(encoder_id: str) -> str:
    # Rounded, because the last digits of a logarithm differ between machines.
    probes = [[round(float(value), 3) + 0.0 for value in style_features(text)] for text in _PROBES]
    spec = [(feature.name, feature.centre, feature.scale) for feature in STYLE]
    lexicons = [sorted(words) for words in (FIRST_PERSON, SECOND_PERSON, HEDGES, GREETINGS, COURTESY)]
    lexicons += [sorted(words) for words in (POSITIVE, NEGATIVE, HUMOUR)]
    text = repr((encoder_id, spec, lexicons, probes, CLIP))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
