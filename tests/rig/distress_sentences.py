"""Hand-written sentences in ten languages that speak of distress, and some that only sound like it.

They are in ``tests/rig/distress/<language>.toml``. The rules were written with the first list. The second one
was written after the rules and only measures, so change no rule for it; write a new list instead.
``python -m tests.rig.distress_sentences`` prints both measurements.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from bot.distress.rules import LANGUAGES, Distress, Kind, distress_in

_FOLDER = Path(__file__).parent / "distress"
_KINDS = {"self": Kind.SELF, "friend": Kind.FRIEND, "danger": Kind.DANGER}


@dataclass(frozen=True)
class Sentence:
    """One sentence; ``kind`` is None for a near miss."""

    language: str
    kind: Kind | None
    text: str

    @property
    def found(self) -> Distress | None:
        return distress_in(self.text)


def sentences(language: str, *, measured: bool) -> list[Sentence]:
    """Return the sentences of a language: those that only measure, or those the rules were written with."""
    lists = tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    chosen = lists["measured" if measured else "written_with"]
    return [Sentence(language, _KINDS.get(name), text) for name, texts in chosen.items() for text in texts]


def rates(language: str, *, measured: bool) -> tuple[float, float]:
    """Return the recall, and the share of near misses that are taken for distress."""
    found = [(one.kind, one.found) for one in sentences(language, measured=measured)]
    true = [distress is not None for kind, distress in found if kind is not None]
    near = [distress is not None for kind, distress in found if kind is None]
    return sum(true) / len(true), sum(near) / len(near)


if __name__ == "__main__":
    for name in LANGUAGES:
        (recall, false), (recall_written, false_written) = (
            rates(name, measured=measured) for measured in (True, False)
        )
        print(
            f"{name}: recall {recall:.2f}, near misses taken {false:.3f} (written with:"
            f" {recall_written:.2f}, {false_written:.3f})"
        )
