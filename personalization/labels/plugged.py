"""Labels from a plug-in: another reading of a member's feedback on a reply."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cache
from typing import Protocol

from personalization.labels.labels import EmojiValence, Label, label_of
from personalization.plugins import Group, made_by, plugin_in
from personalization.settings import LabelWeights, LearningSettings

log = logging.getLogger(__name__)


class LabelSource(Protocol):
    """What the factory of a plug-in of the group ``simpatico.labels`` returns; it is called with nothing.

    A label is derived anew each time it is needed, in several processes. So the same feedback must always
    give the same label.
    """

    def label(self, reactions: Sequence[str], rating: int | None, own: Label | None) -> Label | None:
        """Return the label of one member on one reply; None: it teaches nothing.

        Args:
            reactions: The current reactions: characters of an emoji, or ``:id`` of a custom one.
            rating: 1 to 5, or None.
            own: The label that the bot derives itself.
        """
        ...


class Labeller:
    """Derives labels from feedback on replies, with the plug-in that the settings name, if any.

    Args:
        settings: Trust in each kind of feedback, and the name of the plug-in.

    Raises:
        PluginBroken: There is no such plug-in.
    """

    def __init__(self, settings: LearningSettings) -> None:
        self._weights: LabelWeights = settings.label_weights
        self._source = source_in(settings.label_source)

    def __call__(self, reactions: Sequence[str], rating: int | None, valence: EmojiValence) -> Label | None:
        """Derive the label of one member on one reply.

        Args:
            reactions: The current reactions, as keys from :func:`~personalization.labels.labels.emoji_key`.
            rating: 1 to 5, or None.
            valence: Valences of emoji.
        """
        own = label_of(reactions, rating, valence, self._weights)
        return own if self._source is None else self._told(self._source, reactions, rating, own)

    def _told(
        self, source: LabelSource, reactions: Sequence[str], rating: int | None, own: Label | None
    ) -> Label | None:
        """Return the plug-in's label; the bot's own where it fails. No label outweighs a rating."""
        try:
            found = source.label(tuple(reactions), rating, own)
            if found is None:
                return None
            value, weight = float(found.value), float(found.weight)
        except Exception as exc:  # boundary: the code of a plug-in can raise anything
            log.warning("A plug-in's label failed (%s); the bot's own label is used", type(exc).__name__)
            return own
        if not (0.0 <= value <= 1.0 and math.isfinite(weight) and weight >= 0.0):
            log.warning("A plug-in's label is not in range; the bot's own label is used")
            return own
        most = max(self._weights.rating, self._weights.thumb, self._weights.emoji)
        return Label(value, min(weight, most)) if weight > 0.0 else None


@cache
def source_in(setting: str) -> LabelSource | None:
    """Return the label source that a setting names; None: none. Made once in a process.

    Raises:
        PluginBroken: There is no such plug-in.
    """
    name = plugin_in(setting)
    if name is None:
        return None
    source: LabelSource = made_by(Group.LABELS, name, needs={"label": "which derives a label"})
    return source
