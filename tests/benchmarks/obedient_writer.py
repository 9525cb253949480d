"""A writer that follows instructions and examples, for ``tests/benchmarks/bench_offers.py``.

It starts from a text of the pool. Under a learnt wish it changes the text, or takes the text for the same
message that has most of what is wished. With examples it takes the variant whose style is nearest to them.
It sees no taste, only the style of its seat, as a language model does. A plain seat gets a text of the pool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import emoji
import numpy as np

from bot.generation import Candidate, Context, Style
from bot.messages.sentences import sentence_ends
from bot.replies.offers import offered_in, plain_style_of
from personalization.arrays import FloatArray
from personalization.encoding.features import STYLE_FEATURES, style_features
from personalization.insight.learnt_wishes import MEANING_OF
from tests.benchmarks.taste_pool import Pool

_QUOTED = re.compile('"([^"]+)"')


def _sentences(text: str) -> list[str]:
    ends = sentence_ends(text) or [len(text)]
    return [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)]


def _without_questions(text: str) -> str:
    said = [one for one in _sentences(text) if not one.endswith("?")]
    return " ".join(said) or text.replace("?", ".")


CHANGES: Mapping[str, Callable[[str], str]] = {
    "shorter": lambda text: _sentences(text)[0],
    "emoji": lambda text: f"{text} 😀",
    "no-emoji": lambda text: emoji.replace_emoji(text, "").strip(),
    "asks-back": lambda text: text if text.endswith("?") else f"{text} What do you think?",
    "no-questions": _without_questions,
    "lists": lambda text: "\n".join(f"- {one}" for one in _sentences(text)),
    "no-lists": lambda text: re.sub(r"^\s*[-*]\s+", "", text, flags=re.MULTILINE),
    "lively": lambda text: re.sub(r"\.(?=\s|$)", "!", text),
    "calm": lambda text: text.replace("!", "."),
}
"""Learnt wish -> how a text is changed to follow it. For other wishes the writer chooses among its texts."""


class ObedientWriter:
    """Writes what a seat asks for.

    Args:
        pool: Texts for each message.
        rng: Draws the texts.
    """

    def __init__(self, pool: Pool, rng: np.random.Generator) -> None:
        self._pool, self._rng = pool, rng
        self.name = "obedient"

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        known = self._pool[context.message]
        every = [one.text for texts in known.values() for one in texts]
        written: dict[str, Candidate] = {}
        for style in styles:
            plain = [one.text for one in known.get(plain_style_of(style.name), ())] or every
            text = self._obeyed(plain[self._rng.integers(len(plain))], every, style)
            written.setdefault(text, Candidate(text, style.name))
        return list(written.values())

    def _obeyed(self, text: str, every: Sequence[str], style: Style) -> str:
        wish, examples = offered_in(style.name)
        longer = f"{text} {every[self._rng.integers(len(every))]}"
        if wish == "longer":
            return longer
        if wish in CHANGES:
            return CHANGES[wish](text)
        if wish is not None:
            feature, sign = MEANING_OF[wish]
            column = STYLE_FEATURES.index(feature)
            return max(every, key=lambda one: sign * float(style_features(one)[column]))
        if examples:
            shown = _QUOTED.findall(style.instruction)
            variants = [longer, *every, *(change(text) for change in CHANGES.values())]
            return min(variants, key=lambda one: self._distance(one, shown))
        return text

    def _distance(self, text: str, shown: Iterable[str]) -> float:
        aim: FloatArray = np.mean([style_features(one) for one in shown], axis=0)
        return float(np.linalg.norm(style_features(text) - aim))

    async def continued(self, context: Context, style: Style, begun: str):
        raise NotImplementedError("a reply of this writer is complete")
        yield begun

    def use_persona(self, persona: str) -> None:
        """Ignore the persona: the pool is written."""

    def forget(self, leaving: object) -> None:
        """Nothing is kept of prompts."""

    async def close(self) -> None:
        """Nothing is open."""
