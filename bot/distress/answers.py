"""The fixed answer to a message that speaks of self-harm or danger: kind words and hot lines.

Texts are those of the host (``[distress] texts``), else the built-in ones beside the rules. The answer is in
the language of the message, because a member in need may not read the language of their Discord client. So
these texts are no part of the catalogues. No Discord, no store.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from typing import Any

from bot.distress.rules import FOLDER, Distress, Kind, distress_in, prepare
from bot.generation import Context, Turn
from bot.settings import DistressSettings, HelpLanguage, HelpTexts

_NAME = re.compile(r"(?:[^\n:]{1,24}: )?")
"""The name before the words of an earlier turn, where several members talk."""


class InDistress(Exception):
    """A message speaks of self-harm or danger; answer it with help instead of a written reply.

    Attributes:
        distress: What was recognised.
    """

    def __init__(self, distress: Distress) -> None:
        super().__init__("a message that is answered with help")
        self.distress = distress


class HelpAnswers:
    """Recognises distress and returns the answer to it, as the host configured it.

    Args:
        settings: Section ``[distress]``.
    """

    def __init__(self, settings: DistressSettings) -> None:
        self._settings = settings
        prepare()

    def use_settings(self, settings: DistressSettings) -> None:
        """Use other texts, or none, from the next message on."""
        self._settings = settings

    def found_in(self, text: str) -> Distress | None:
        """Return the distress that a message speaks of; None: none, or the host switched it off."""
        return distress_in(text) if self._settings.answer else None

    def without_distress(self, context: Context) -> tuple[Distress | None, tuple[Turn, ...]]:
        """Return the distress of the message, and the turns that speak of none, alone or in a row."""
        rows: dict[tuple[int, str], list[int]] = {}
        n_replies = 0
        for index, turn in enumerate(context.turns):
            if turn.role == "user":
                rows.setdefault((n_replies, _name_in(turn.text)), []).append(index)
            else:
                n_replies += 1
        dropped: set[int] = set()
        for (_, name), row in rows.items():
            said = {index: context.turns[index].text.removeprefix(name) for index in row}
            calm = [index for index in row if not self.found_in(said[index])]
            if self.found_in("\n".join(said[index] for index in calm)):
                calm = []
            dropped |= set(row) - set(calm)
        left = tuple(turn for index, turn in enumerate(context.turns) if index not in dropped)
        return self.found_in(context.message), left

    def answer_to(self, distress: Distress, *, again: bool = False) -> str:
        """Return the answer, within one message of Discord.

        Args:
            distress: What was recognised.
            again: Whether the member got the whole answer a short while ago.
        """
        own = self._settings.texts.get(distress.language, HelpTexts())
        built_in = _built_in(distress.language)
        words = "again" if again else distress.kind.value
        lines = "danger_lines" if distress.kind is Kind.DANGER else "lines"
        text = getattr(own, words) or getattr(built_in, words)
        return "\n".join([text, *(f"- {line}" for line in getattr(own, lines) or getattr(built_in, lines))])


@cache
def _built_in(language: HelpLanguage) -> HelpTexts:
    read: dict[str, Any] = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))["words"]
    texts: dict[str, Any] = {
        key: tuple(said) if isinstance(said, list) else said for key, said in read.items()
    }
    return HelpTexts(**texts)


def _name_in(text: str) -> str:
    found = _NAME.match(text)
    return found[0] if found else ""
