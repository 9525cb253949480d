"""``make bench-replies``: share of bad replies of the embedded model, with and without its own manner of use.

Asks for the candidates of everyday messages (``tests/rig/everyday.py``) as any model is asked and in the
manner of the packaged one (``bot/generators/packaged_model``), and judges all texts by the same rules, which
do not know who asked:

* off topic: by the encoder, at least ten other messages are closer to the reply than its own;
* poor: a loop, an echo, a refusal, or another language than the message (``bot/moderation/poor_replies.py``);
* cut off: the text ends within a sentence, and not with an item of a list.

"Posted" is the share among the replies that the bot would post to a newcomer, by the probabilities of its
ranking, of the candidates that the filter of poor replies leaves.

The manner was chosen on the first fifty messages, so the second fifty are measured by default.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bot.generation import Candidate, CandidateGenerator, Context
from bot.generators.factory import create_generator
from bot.moderation.poor_replies import is_poor, without_poor
from bot.replies.shapes import shaped
from bot.settings import GeneratorSettings
from personalization.encoding.encoder import Encoder
from personalization.encoding.features import FeatureMap
from personalization.encoding.loading import load_encoder
from personalization.heads.heads import starter_prior
from personalization.ranking.ranker import Ranker
from personalization.settings import LearningSettings
from tests.rig.everyday import contexts

_ITEM = re.compile(r"\s*(?:[-*+\u2022]|\d+[.)])\s")

CLOSER = 10
"""Messages of others that are closer to a reply before it counts as off topic."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is bad about one reply."""

    off_topic: bool
    poor: bool
    cut_off: bool

    @property
    def is_bad(self) -> bool:
        """Whether anything is."""
        return self.off_topic or self.poor or self.cut_off


async def written(
    generator: CandidateGenerator, asked: Sequence[Context], settings: GeneratorSettings
) -> list[list[Candidate]]:
    """Return the candidates of each message in the shape of their styles, then close the generator."""
    try:
        return [
            shaped(await generator.generate(context, settings.styles), settings.styles) for context in asked
        ]
    finally:
        await generator.close()


def judged(
    asked: Sequence[Context], sets: Sequence[Sequence[Candidate]], encoder: Encoder
) -> list[list[Verdict]]:
    """Judge each candidate; the order of sets and candidates is kept."""
    everything = [context.message for context in contexts()]
    known = encoder.encode(everything)  # (100, d)
    verdicts: list[list[Verdict]] = []
    for context, candidates in zip(asked, sets, strict=True):
        close = encoder.encode([one.text for one in candidates]) @ known.T  # (k, 100)
        own = everything.index(context.message)
        verdicts.append(
            [
                Verdict(int((row > row[own]).sum()) >= CLOSER, is_poor(one.text, context), _is_cut(one.text))
                for row, one in zip(close, candidates, strict=True)
            ]
        )
    return verdicts


async def posted(
    asked: Sequence[Context],
    sets: Sequence[Sequence[Candidate]],
    verdicts: Sequence[Sequence[Verdict]],
    encoder: Encoder,
) -> float:
    """Return the expected share of bad replies among those that a newcomer would get."""

    async def no_head(_: object) -> None:
        return None

    settings, features = LearningSettings(device="cpu"), FeatureMap(encoder)
    prior = starter_prior(features, settings)
    ranker = Ranker(features, settings, no_head, prior, np.random.default_rng(0))
    bad = 0.0
    try:
        for context, candidates, found in zip(asked, sets, verdicts, strict=True):
            left = without_poor(candidates, context)
            ranking = await ranker.rank(None, context.message, [one.text for one in left])
            bad += sum(
                chance * found[candidates.index(one)].is_bad
                for chance, one in zip(ranking.propensities, left, strict=True)
            )
    finally:
        ranker.close()
    return bad / len(sets)


def _is_cut(text: str) -> bool:
    """Return whether a text ends within a sentence; an item of a list needs no full stop."""
    last_line = text.rstrip("`*_ \n").rpartition("\n")[2]
    return _ITEM.match(last_line) is None and (last_line[-1:].isalnum() or last_line[-1:] in ",;-(")


def show(name: str, verdicts: Sequence[Sequence[Verdict]], bad_posts: float) -> None:
    """Print one line of the table: shares of replies, and sets in which every candidate is bad."""
    flat = [verdict for one in verdicts for verdict in one]
    counts = Counter(
        what
        for verdict in flat
        for what in ("off_topic", "poor", "cut_off", "is_bad")
        if getattr(verdict, what)
    )
    shares = " | ".join(
        f"{counts[what] / len(flat):.3f}" for what in ("off_topic", "poor", "cut_off", "is_bad")
    )
    hopeless = sum(all(verdict.is_bad for verdict in one) for one in verdicts)
    print(
        f"| {name} | {len(flat)} | {shares} | {bad_posts:.3f} | {hopeless} of {len(verdicts)} |", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--first", type=int, default=50, help="first message, counted from 0")
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--only", choices=["as any model", "its own manner"], help="measure one of the two")
    parser.add_argument("--texts", type=Path, help="file for the texts and their verdicts, JSON")
    arguments = parser.parse_args()
    asked = contexts()[arguments.first : arguments.first + arguments.messages]
    encoder, texts = load_encoder("packaged", "cpu"), {}
    print(
        "| asked | replies | off topic | poor | cut off | any of these | posted | sets without a good one |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = GeneratorSettings(model_dir=Path(folder))
        for name, own_manner in (("as any model", False), ("its own manner", True)):
            if arguments.only not in (None, name):
                continue
            generator = create_generator(settings, own_manner=own_manner)
            sets = asyncio.run(written(generator, asked, settings))
            verdicts = judged(asked, sets, encoder)
            bad_posts = asyncio.run(posted(asked, sets, verdicts, encoder))
            show(name, verdicts, bad_posts)
            texts[name] = [
                [context.message, one.style, one.text, verdict.is_bad]
                for context, candidates, found in zip(asked, sets, verdicts, strict=True)
                for one, verdict in zip(candidates, found, strict=True)
            ]
    if arguments.texts:
        arguments.texts.write_text(json.dumps(texts, indent=0, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
