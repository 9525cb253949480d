"""``python -m tests.benchmarks.taste_pool FILE``: replies of the embedded model to everyday messages.

The pool of ``make bench-taste``. For each message (``tests/rig/everyday.py``) the embedded model writes
some texts in each default style, with a seed for each text. The file has one line per message and turn, in
JSON. The command continues where it stopped, so it can be interrupted. The pool is made once and kept
outside of git.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bot.generation import Candidate
from bot.generators.factory import create_generator
from bot.settings import GeneratorSettings
from tests.rig.everyday import MESSAGES, MORE_MESSAGES, contexts

Pool = dict[str, dict[str, list[Candidate]]]
"""Message -> name of a style -> texts in the order in which they were written."""


def pool_path(folder: Path) -> Path:
    """Return the file of the pool in the folder of caches."""
    return folder / "taste-pool.jsonl"


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a pool; an interrupted last line is left out."""
    if not path.is_file():
        return []
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line) for line in whole]


def read_pool(path: Path) -> Pool:
    """Read a pool.

    Raises:
        FileNotFoundError: There is no pool; the message names the command that makes it.
    """
    pool: Pool = defaultdict(lambda: defaultdict(list))
    for line in lines_of(path):
        for style, text in line["texts"]:
            pool[line["message"]][style].append(Candidate(text, style))
    if not pool:
        raise FileNotFoundError(
            f"expected a pool of replies at {path}, found none; make it with"
            f" `python -m tests.benchmarks.taste_pool {path}`"
        )
    return {message: dict(by_style) for message, by_style in pool.items()}


def digest(path: Path) -> str:
    """Return a short hash of a pool, which names it in a report."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


class _Seeded:
    """llama.cpp with a seed for each request, from the message, the turn and the temperature of the style."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.salt = ""

    def handle_chat_completions(self, request: dict[str, Any], take: Any) -> Any:
        key = f"{self.salt}/{request['messages'][0]['content']}"
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
        return self._server.handle_chat_completions(request | {"seed": seed}, take)


async def write_pool(path: Path, n_messages: int, n_turns: int, seed: int) -> None:
    """Append what the pool lacks, turn by turn."""
    asked = contexts((*MESSAGES, *MORE_MESSAGES)[:n_messages])
    known = {(line["message"], line["turn"]) for line in lines_of(path)}
    missing = [(turn, one) for turn in range(n_turns) for one in asked if (one.message, turn) not in known]
    if not missing:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines_of(path)))
    with tempfile.TemporaryDirectory() as folder:
        settings = GeneratorSettings(model_dir=Path(folder))
        generator: Any = create_generator(settings)
        generator._server = seeded = _Seeded(generator._server)
        try:
            with path.open("a") as file:
                for turn, context in tqdm(missing, unit="message"):
                    seeded.salt = f"{seed}/{turn}/{context.message}"
                    written = await generator.generate(context, settings.styles)
                    texts = [(one.style, one.text) for one in written]
                    line = {"message": context.message, "turn": turn, "texts": texts}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    file.flush()
        finally:
            await generator.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--turns", type=int, default=2, help="texts per message and style")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(write_pool(arguments.file, arguments.messages, arguments.turns, arguments.seed))


if __name__ == "__main__":
    main()
