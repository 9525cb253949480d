"""A language model from a plug-in, as one of the bot's generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from bot.generation import Candidate, Context, GeneratorError, GeneratorUnavailable, ModelMissing, Style
from bot.memory import Leaving
from bot.settings import GeneratorSettings
from personalization.errors import PluginBroken
from personalization.plugins import Group, made_by, source_of

LONGEST_TEXT = 100_000
"""Longest candidate that is taken from a plug-in, characters."""


class GeneratorPlugin(Protocol):
    """What the factory of a plug-in of the group ``simpatico.generators`` returns.

    The factory is called with the settings of section ``[generator]``, in a thread. Optional methods:
    ``continued(context, style, begun)``, which yields a draft as it grows (needed for ``draft_tokens``);
    ``use_persona(persona)``; ``forget()``, which drops all that is kept of prompts; and ``async close()``.
    """

    async def generate(self, context: Context, styles: Sequence[Style]) -> Sequence[Candidate]:
        """Write at most one candidate per style. It must not block the event loop.

        Raises:
            GeneratorError: No candidate could be written.
        """
        ...


class PluggedGenerator:
    """A plug-in as a generator; its errors become :class:`~bot.generation.GeneratorError`.

    Args:
        name: Name of the plug-in.
        plugin: What its factory returned.
        timeout_s: Longest time for one answer, seconds.

    Attributes:
        name: Name of the plug-in, its package and version.
    """

    def __init__(self, name: str, plugin: Any, timeout_s: float) -> None:
        self._plugin, self._timeout_s = plugin, timeout_s
        self.name = f"plug-in {source_of(Group.GENERATORS, name)}"

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Generate at most one candidate per style, in the order of ``styles``.

        Raises:
            GeneratorError: The plug-in failed, took too long, or wrote nothing of use.
        """
        found = await self._asked(lambda: self._plugin.generate(context, list(styles)))
        try:
            written = {one.style: one for one in reversed(list(found)) if _is_usable(one)}
        except TypeError as exc:
            raise GeneratorError(f"{self.name}: expected a list of candidates") from exc
        return [written[style.name] for style in styles if style.name in written]

    async def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Continue an unfinished candidate; yield the whole reply each time it has grown.

        Raises:
            GeneratorError: The plug-in cannot continue drafts, or failed.
        """
        if not hasattr(self._plugin, "continued"):
            raise GeneratorError(f"{self.name} cannot continue drafts; set [generator] draft_tokens = 0")
        growing = self._plugin.continued(context, style, begun)
        try:
            while True:
                text = await self._asked(lambda: anext(growing, None))
                if text is None:
                    return
                yield str(text)[:LONGEST_TEXT]
        finally:
            if hasattr(growing, "aclose"):
                await growing.aclose()

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on; a plug-in may ignore it."""
        if hasattr(self._plugin, "use_persona"):
            self._plugin.use_persona(persona)

    def forget(self, leaving: Leaving) -> None:
        """Drop what the plug-in keeps of prompts."""
        if hasattr(self._plugin, "forget"):
            self._plugin.forget()

    async def close(self) -> None:
        """Release what the plug-in holds."""
        if hasattr(self._plugin, "close"):
            await self._asked(self._plugin.close)

    async def _asked(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Return what the plug-in answers within the timeout."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await ask()
        except GeneratorError:
            raise
        except TimeoutError as exc:
            raise GeneratorUnavailable(f"{self.name} gave no answer within {self._timeout_s:g} s") from exc
        except Exception as exc:  # boundary: the code of a plug-in can raise anything, with any text in it
            raise GeneratorError(f"{self.name} failed ({type(exc).__name__})") from exc


def plugged_generator(name: str, settings: GeneratorSettings) -> PluggedGenerator:
    """Make the generator of a plug-in. Blocks while it starts.

    Raises:
        ModelMissing: There is no such plug-in, or it cannot start.
    """
    try:
        plugin = made_by(Group.GENERATORS, name, settings, needs={"generate": "which writes candidates"})
    except PluginBroken as exc:
        raise ModelMissing(str(exc)) from exc
    return PluggedGenerator(name, plugin, settings.timeout_s)


def _is_usable(candidate: object) -> bool:
    """Return whether this is a candidate with a text that is not blank and not endless."""
    if not isinstance(candidate, Candidate) or not isinstance(candidate.text, str):
        return False
    return bool(candidate.text.strip()) and len(candidate.text) <= LONGEST_TEXT
