"""Judges of candidates from plug-ins, beside the toxicity model."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from bot.tasks import Threads
from personalization.errors import PluginBroken
from personalization.plugins import Group, made_by, plugin_in

log = logging.getLogger(__name__)

FILTER_S = 20.0
"""Longest time for the answer of one plug-in about one reply's candidates, seconds."""


class TextFilter(Protocol):
    """What the factory of a plug-in of the group ``simpatico.filters`` returns; it is called with nothing."""

    def unwanted(self, texts: Sequence[str]) -> Sequence[float]:
        """Return how unwanted each text is, 0 to 1. Blocks; called in a thread.

        A server drops candidates from 0.4 (level strict), 0.7 (standard) or 0.9 (relaxed) on.
        """
        ...


class Judge(Protocol):
    """As :class:`bot.moderation.output_filter.Judge`."""

    async def toxicity(self, texts: Sequence[str]) -> list[float]:
        """Return how unwanted each text is, 0 to 1, in order."""
        ...


class JudgesTogether:
    """The toxicity model and plug-ins as one judge: a text is as unwanted as the strictest of them says.

    A plug-in that fails rates every text 1: what it could not check is not posted.

    Args:
        model: The toxicity model; None: there is none.
        filters: Plug-ins by name.
        within_s: Longest time for the answer of a plug-in, seconds.
    """

    def __init__(
        self, model: Judge | None, filters: dict[str, TextFilter], within_s: float = FILTER_S
    ) -> None:
        self._model, self._filters, self._threads = model, filters, Threads(within_s)

    async def toxicity(self, texts: Sequence[str]) -> list[float]:
        """Return how unwanted each text is, 0 to 1, in order.

        Raises:
            RuntimeError: The toxicity model failed.
        """
        worst = [0.0] * len(texts)
        for name, judge in self._filters.items():
            worst = list(map(max, worst, await self._rated(name, judge, texts)))
        if self._model is not None:
            worst = list(map(max, worst, await self._model.toxicity(texts)))
        return worst

    async def _rated(self, name: str, judge: TextFilter, texts: Sequence[str]) -> list[float]:
        try:
            found = await self._threads.run(partial(judge.unwanted, list(texts)))
            rated = [float(one) for one in found]
        except Exception as exc:  # boundary: the code of a plug-in can raise anything, or be overdue
            log.warning(
                "The filter %s failed (%s); candidates dropped: %d", name, type(exc).__name__, len(texts)
            )
            return [1.0] * len(texts)
        if len(rated) != len(texts):
            log.warning(
                "The filter %s: expected %d ratings, found %d; all dropped", name, len(texts), len(rated)
            )
            return [1.0] * len(texts)
        return [min(max(one, 0.0), 1.0) if math.isfinite(one) else 1.0 for one in rated]


def with_filters(model: Judge | None, settings: Sequence[str]) -> Judge | None:
    """Return the toxicity model together with the plug-ins that the settings name. Blocks.

    Args:
        model: The toxicity model; None: there is none.
        settings: ``plugin:NAME`` of each.

    Raises:
        PluginBroken: There is no such plug-in, or it cannot start.
    """
    names = [plugin_in(one) or "" for one in settings]
    if "" in names:
        raise PluginBroken(f"[safety] filters: expected plugin:NAME, found {settings[names.index('')]!r}")
    needs = {"unwanted": "which rates texts"}
    filters: dict[str, TextFilter] = {name: made_by(Group.FILTERS, name, needs=needs) for name in names}
    return JudgesTogether(model, filters) if filters else model
