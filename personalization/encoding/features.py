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
from personalization.encoding.languages import Language, english, language_of
from personalization.encoding.languages import spec as words_spec

CLIP = 3.0
"""Largest absolute value of a style feature, so that one unusual text does not decide a head."""
NO_CASE = 0.18
"""Centre of the share of capital letters, which a text in a script without capital letters gets."""


class _Text:
    """One text, parsed once for all style features. English, and languages that are not known.

    Attributes:
        chars: Its length as an English text would have it, characters.
        count: Its number of words as an English text would have it.
    """

    def __init__(self, text: str) -> None:
        self.raw = text
        self.chars: float = max(1, len(text))
        self.lines = text.splitlines()
        self.emoji = emoji.emoji_count(text) + len(re.findall(r"<a?:\w+:\d+>", text))

    @cached_property
    def words(self) -> list[str]:
        return re.findall(r"[^\W_]+(?:'[^\W_]+)?", self.raw.lower().replace("’", "'"))

    @cached_property
    def count(self) -> float:
        return len(self.words)

    @cached_property
    def n_words(self) -> float:
        return max(1, self.count)

    @cached_property
    def sentences(self) -> int:
        # Matches only from the start of a run, with a possessive quantifier, so it is linear for any text.
        return max(1, len(re.findall(r"(?<![.!?…])[.!?…]++(?=\s|$)", self.raw)))

    @property
    def word_length(self) -> float:
        """Mean length of a word, characters."""
        return sum(map(len, self.words)) / self.n_words

    @property
    def different(self) -> float:
        """Share of different words."""
        return len(set(self.words)) / self.n_words

    @property
    def upper_case(self) -> float:
        """Square root of the share of capital letters."""
        return math.sqrt(sum(c.isupper() for c in self.raw) / self.chars)

    def share(self, lexicon: str) -> float:
        """Return the square root of the share of words in a lexicon, in which the first one counts most."""
        return math.sqrt(self._n_in(lexicon) / self.n_words)

    def _n_in(self, lexicon: str) -> int:
        return english().n_in(lexicon, self.words)

    def signs(self, pattern: str) -> float:
        """Return the number of matches of a pattern, on a logarithmic scale."""
        return math.log1p(len(re.findall(pattern, self.raw, re.MULTILINE)))


class _OtherText(_Text):
    """A text in another language, with lengths as an English text of the same meaning would have them."""

    def __init__(self, text: str, language: Language) -> None:
        super().__init__(language.plain(text))
        self._language = language
        self.chars = max(1.0, language.length_of(text))

    @cached_property
    def words(self) -> list[str]:
        return self._language.words(self.raw.lower().replace("’", "'"))

    @cached_property
    def count(self) -> float:
        return len(self.words) * self._language.sizes.words

    @property
    def word_length(self) -> float:
        return sum(map(self._language.length_of_word, self.words)) / max(1, len(self.words))

    @property
    def different(self) -> float:
        return len(set(self.words)) / max(1, len(self.words))

    @property
    def upper_case(self) -> float:
        if not self._language.has_case:
            return NO_CASE
        capitals = self._language.capitals(self.raw)
        return math.sqrt(capitals / self.chars)

    def _n_in(self, lexicon: str) -> int:
        return self._language.n_in(lexicon, self.words)


def _parsed(text: str) -> _Text:
    language = language_of(text)
    return _Text(text) if language is None else _OtherText(text, language)


@dataclass(frozen=True, slots=True)
class StyleFeature:
    """A named measure of a text, and constants for unit scale: ``(measure - centre) / scale``."""

    name: str
    centre: float
    scale: float
    measure: Callable[[_Text], float]


STYLE: tuple[StyleFeature, ...] = (
    StyleFeature("length_chars", 4.5, 1.0, lambda t: math.log1p(t.chars)),
    StyleFeature("length_words", 3.0, 1.0, lambda t: math.log1p(t.count)),
    StyleFeature("sentences", 1.0, 0.5, lambda t: math.log1p(t.sentences)),
    StyleFeature("sentence_words", 2.2, 0.6, lambda t: math.log1p(t.n_words / t.sentences)),
    StyleFeature("word_length", 4.2, 0.8, lambda t: t.word_length),
    StyleFeature("different_words", 0.9, 0.1, lambda t: t.different),
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
    StyleFeature("upper_case", NO_CASE, 0.12, lambda t: t.upper_case),
    StyleFeature("first_person", 0.2, 0.18, lambda t: t.share("first_person")),
    StyleFeature("second_person", 0.17, 0.17, lambda t: t.share("second_person")),
    StyleFeature("hedges", 0.06, 0.12, lambda t: t.share("hedges")),
    StyleFeature("greeting", 0.06, 0.2, lambda t: t.share("greetings")),
    StyleFeature("courtesy", 0.06, 0.15, lambda t: t.share("courtesy")),
    StyleFeature("positive_tone", 0.12, 0.17, lambda t: t.share("positive")),
    StyleFeature("negative_tone", 0.06, 0.13, lambda t: t.share("negative")),
    StyleFeature("humour", 0.03, 0.15, lambda t: t.share("humour")),
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
    parts = _parsed(text)
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
        self._understood: dict[str, float] = {}

    def features(self, texts: Sequence[str]) -> FloatArray:
        """Compute the features of replies. Blocks; call from a thread.

        Returns:
            ``n x d`` float32.
        """
        return self._with_style(texts, self._encoder.encode(texts))

    def encode(self, message: str, candidates: Sequence[str]) -> Encoded:
        """Compute the candidates' features and their relevance to the message. Blocks; call from a thread.

        The message has a forward pass of its own and leaves this method only as ``k`` cosines. They come from
        the encoder before any adapting, because labels must not decide what fits a message. They are drawn
        together as far as the encoder does not understand the language of the message.
        """
        embeddings = self._encoder.encode(candidates)
        relevance = np.zeros(len(candidates), dtype=np.float32)
        if message.strip():
            frozen = self._encoder.frozen
            plain = embeddings if frozen is self._encoder else frozen.encode(candidates)
            relevance = plain @ frozen.encode([message])[0]  # (k,)
            if (language := language_of(message)) is not None and len(candidates):
                mean = relevance.mean()
                relevance = mean + np.float32(self._understanding_of(language)) * (relevance - mean)  # (k,)
        return Encoded(self._with_style(candidates, embeddings), relevance)

    def _understanding_of(self, language: Language) -> float:
        """Return how well the encoder tells the right answer to a question in a language: 0 not, 1 always.

        It is asked once for each language, with questions of the language's file: twice the area under the
        ROC curve, less one.
        """
        if language.name not in self._understood:
            questions, answers = zip(*language.pairs, strict=True)
            cosines = self._encoder.frozen.encode(answers) @ self._encoder.frozen.encode(questions).T
            own = np.eye(len(answers), dtype=bool)
            higher = np.greater.outer(cosines[own], cosines[~own]).mean()
            self._understood[language.name] = max(0.0, 2.0 * float(higher) - 1.0)
        return self._understood[language.name]

    def _with_style(self, texts: Sequence[str], embeddings: FloatArray) -> FloatArray:
        style = np.array([style_features(text) for text in texts], dtype=np.float32)
        return np.concatenate([embeddings, style.reshape(len(texts), len(STYLE))], axis=1)  # (n, d)


def _feature_id(encoder_id: str) -> str:
    # Rounded, because the last digits of a logarithm differ between machines.
    probes = [[round(float(value), 3) + 0.0 for value in style_features(text)] for text in _PROBES]
    spec = [(feature.name, feature.centre, feature.scale) for feature in STYLE]
    text = repr((encoder_id, spec, words_spec(), probes, CLIP))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
