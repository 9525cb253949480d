"""Several writers side by side: each requested candidate goes to the language model that it was dealt to.

A writer that fails or hangs costs the reply only its own candidates. Where no candidate is left, the other
writers write in its place, so a reply never requests more than ``k`` candidates that are written. A writer
that failed rests, first for half a minute, at most for five; meanwhile nothing is dealt to it. The log holds
places in the configuration and counts, no text.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.generation import (
    Candidate,
    CandidateGenerator,
    Context,
    GeneratorError,
    Style,
    seat_of,
    with_seats,
)
from bot.generators.model_server.stragglers import Patience
from bot.memory import Leaving
from personalization.ranking.dealing import Writer

log = logging.getLogger(__name__)

REST_S = (30.0, 300.0)
"""First and longest rest of a writer that failed, seconds; each further failure doubles it."""
ENDS = {
    "written": "Requests to a writer that wrote all candidates.",
    "missing": "Requests to a writer that wrote some of the candidates.",
    "failed": "Requests to a writer that wrote nothing, or came too late.",
}
"""Ends of a request to a writer."""


@dataclass(eq=False)
class OneWriter:
    """One of the writers.

    Attributes:
        about: Its name, share and styles.
        generator: Writes its candidates.
        n_ends: Requests so far by end, one of :data:`ENDS`.
        rest_s: Length of its latest rest; 0 after a success.
        rests_until: End of its rest by the steady clock.
    """

    about: Writer
    generator: CandidateGenerator
    n_ends: Counter[str] = field(default_factory=Counter[str])
    rest_s: float = 0.0
    rests_until: float = 0.0


class SeveralWriters:
    """A generator of several generators.

    Args:
        writers: At least one, the plain one first; names differ.
        timeout_s: Seconds after which a writer is given up while there is no candidate.
        now: Steady clock, seconds.
    """

    def __init__(
        self, writers: Sequence[OneWriter], timeout_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._writers = tuple(writers)
        self._patience = Patience(timeout_s)
        self._steady = now

    @property
    def name(self) -> str:
        """Every model with its server."""
        return ", ".join(one.generator.name for one in self._writers)

    @property
    def n_ends(self) -> Mapping[str, Mapping[str, int]]:
        """Name of a writer -> number of its requests by end."""
        return {one.about.name: one.n_ends for one in self._writers}

    def able(self) -> tuple[Writer, ...]:
        """Return the writers that do not rest; all of them if every one rests."""
        awake = [one.about for one in self._writers if self._steady() >= one.rests_until]
        return tuple(awake or (one.about for one in self._writers))

    async def generate(self, context: Context, styles: Sequence[Style]) -> list[Candidate]:
        """Let each writer write the candidates that it was dealt; the others, where none is written.

        Raises:
            GeneratorError: No writer wrote a candidate.
        """
        dealt: defaultdict[OneWriter, list[Style]] = defaultdict(list)
        for style in styles:
            dealt[self._writer_of(style)].append(style)
        written = await self._written(context, dealt)
        failures = [found for found in written.values() if isinstance(found, GeneratorError)]
        others = [one for one in self._writers if one not in dealt]
        while others and not any(isinstance(found, list) for found in written.values()):
            one = others.pop(0)
            written = {one: await self._asked(one, context, styles)}
            failures += [found for found in written.values() if isinstance(found, GeneratorError)]
        found = self._in_order(written, dealt, styles)
        if not found:
            raise failures[0]
        return found

    def continued(self, context: Context, style: Style, begun: str) -> AsyncGenerator[str]:
        """Continue a candidate with the writer that began it.

        Raises:
            GeneratorError: The reply could not be completed.
        """
        return self._writer_of(style).generator.continued(context, style, begun)

    def use_persona(self, persona: str) -> None:
        """Use another persona from the next prompt on."""
        for one in self._writers:
            one.generator.use_persona(persona)

    def forget(self, leaving: Leaving) -> None:
        """Drop what is kept of prompts."""
        for one in self._writers:
            one.generator.forget(leaving)

    async def close(self) -> None:
        """Release every writer."""
        await asyncio.gather(*(one.generator.close() for one in self._writers))

    def _writer_of(self, style: Style) -> OneWriter:
        """Return the writer of a dealt style; the first one that does not rest for any other style."""
        seat = seat_of(style)
        by_name = {one.about.name: one for one in self._writers}
        if seat is not None and seat.writer in by_name:
            return by_name[seat.writer]
        return by_name[self.able()[0].name]

    async def _written(
        self, context: Context, dealt: Mapping[OneWriter, Sequence[Style]]
    ) -> dict[OneWriter, list[Candidate] | GeneratorError]:
        """Ask these writers at the same time; the slow ones are left out once there are candidates."""
        tasks = [asyncio.create_task(self._asked(one, context, of)) for one, of in dealt.items()]
        answers, _ = await self._patience.gather(tasks, lambda found: isinstance(found, list))
        late = GeneratorError("a writer did not answer in time")
        return {
            one: self._late(one, late) if found is None else found
            for one, found in zip(dealt, answers, strict=True)
        }

    async def _asked(
        self, one: OneWriter, context: Context, styles: Sequence[Style]
    ) -> list[Candidate] | GeneratorError:
        try:
            found = await one.generator.generate(context, styles)
        except GeneratorError as exc:
            return self._late(one, exc)
        one.n_ends["written" if len(found) == len(styles) else "missing"] += 1
        one.rest_s = one.rests_until = 0.0
        return [_by(one, candidate) for candidate in with_seats(found, styles)]

    def _late(self, one: OneWriter, exc: GeneratorError) -> GeneratorError:
        """Count a failure and let the writer rest, if another one is there."""
        one.n_ends["failed"] += 1
        one.rest_s = min(max(2 * one.rest_s, REST_S[0]), REST_S[1])
        one.rests_until = self._steady() + one.rest_s
        log.warning(
            "writer %d of %d wrote nothing (%s) and rests for %.0f s",
            self._writers.index(one) + 1,
            len(self._writers),
            type(exc).__name__,
            one.rest_s,
        )
        return exc

    def _in_order(
        self,
        written: Mapping[OneWriter, list[Candidate] | GeneratorError],
        dealt: Mapping[OneWriter, Sequence[Style]],
        styles: Sequence[Style],
    ) -> list[Candidate]:
        """Return the candidates in the order of the styles, each text once."""
        places = {id(style): place for place, style in enumerate(styles)}
        found: list[tuple[int, Candidate]] = []
        for one, candidates in written.items():
            of = dealt.get(one, styles)
            if isinstance(candidates, list):
                place = {style.name: places[id(style)] for style in reversed(of)}
                found += [(place.get(each.style, len(styles)), each) for each in candidates]
        texts: dict[str, Candidate] = {}
        for _, candidate in sorted(found, key=lambda pair: pair[0]):
            texts.setdefault(" ".join(candidate.text.casefold().split()), candidate)
        return list(texts.values())


def _by(one: OneWriter, candidate: Candidate) -> Candidate:
    """Return a candidate with its writer; without shares where it was dealt to another writer."""
    seat = candidate.seat
    if seat is None or seat.writer == one.about.name:
        return candidate
    return replace(candidate, seat=replace(seat, writer=one.about.name, shares=()))
