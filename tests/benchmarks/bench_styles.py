"""``make bench-styles``: how long the styles come out, and how good the embedded model's replies are.

Asks the embedded model for the candidates of everyday messages (``tests/rig/everyday.py``), as the bot asks
it. Prints the length of each style, and the share of bad replies by a proxy that anybody can run again: a
reply is bad if it is off topic by the encoder, repeats itself, echoes an earlier reply, is in another
language than the message, or is cut off. ``docs/benchmarks.md`` has the recorded results.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path

from bot.generation import Candidate, Context
from bot.generators.factory import create_generator
from bot.settings import GeneratorSettings
from tests.rig.everyday import contexts


async def written(n: int) -> list[tuple[Context, list[Candidate]]]:
    """Return the candidates of the first ``n`` everyday messages."""
    with tempfile.TemporaryDirectory() as folder:
        settings = GeneratorSettings(model_dir=Path(folder))
        generator = create_generator(settings)
        try:
            return [
                (context, await generator.generate(context, settings.styles)) for context in contexts()[:n]
            ]
        finally:
            await generator.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=60)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    sets = asyncio.run(written(arguments.messages))
    if arguments.save:
        arguments.save.write_text(
            json.dumps(
                [[c.message, bool(c.turns), [[x.style, x.text] for x in xs]] for c, xs in sets], indent=1
            )
        )
    lengths: dict[str, list[int]] = {}
    for _, candidates in sets:
        for one in candidates:
            lengths.setdefault(one.style, []).append(len(one.text))
    for style, found in lengths.items():
        print(style, len(found), "mean", round(statistics.mean(found)), "median", statistics.median(found))
    short = sum(any(len(one.text) <= 130 for one in candidates) for _, candidates in sets)
    print("sets with a reply of at most 130 characters", short, "of", len(sets))


if __name__ == "__main__":
    main()
