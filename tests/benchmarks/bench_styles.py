"""``make bench-styles``: how long the candidates of each style are, with and without its shape.

Asks the embedded model for the candidates of everyday messages (``tests/rig/everyday.py``), every second one
with a history, and prints the lengths of the same texts as the model wrote them and in their shape.
``docs/benchmarks.md`` has the recorded results.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bot.generation import Candidate
from bot.generators.factory import create_generator
from bot.replies.shapes import shaped
from bot.settings import GeneratorSettings
from tests.rig.everyday import contexts

SHORT = 130
"""Longest reply that counts as a short one, characters."""


async def written(settings: GeneratorSettings, n: int) -> list[list[Candidate]]:
    """Return the candidates of the first ``n`` everyday messages."""
    generator = create_generator(settings)
    try:
        return [await generator.generate(context, settings.styles) for context in contexts()[:n]]
    finally:
        await generator.close()


def show(title: str, sets: Sequence[Sequence[Candidate]], styles: Sequence[str]) -> None:
    """Print the lengths of each style."""
    print(f"\n{title}\n\n| style | mean | median |\n|---|---|---|")
    for style in styles:
        lengths = [len(one.text) for candidates in sets for one in candidates if one.style == style]
        print(f"| {style} | {statistics.mean(lengths):.0f} | {statistics.median(lengths):.0f} |")
    short = sum(any(len(one.text) <= SHORT for one in candidates) for candidates in sets)
    print(f"\nSets with a reply of at most {SHORT} characters: {short} of {len(sets)}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=60)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = GeneratorSettings(model_dir=Path(folder))
        sets = asyncio.run(written(settings, arguments.messages))
    names = [style.name for style in settings.styles]
    show("As the model wrote them, within their token limits", sets, names)
    show("In their shape", [shaped(candidates, settings.styles) for candidates in sets], names)


if __name__ == "__main__":
    main()
