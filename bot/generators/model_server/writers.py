"""Several writers side by side: each requested candidate goes to the language model that it was dealt to.

A writer that fails or hangs costs the reply only its own candidates. Where no candidate is left, the other
writers write in its place, so a reply never requests more than ``k`` candidates that are written. Once there
is a candidate, a slower writer gets three times its usual time; it is not awaited at all where the candidates
of all writers so far are enough. A writer that failed rests, first for half a minute, at most for five;
meanwhile nothing is dealt to it. The log holds places in the configuration and counts, no text.
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
    Enough,
    GeneratorError,
    GeneratorUnavailable,
    StopsEarly,
    Style,
    seat_of,
    with_seats,
)
from bot.generators.model_server.stragglers import FACTOR, GRACE_S
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
        usual_s: Time that it usually takes, at least the wait after which it was given up; None: not known.
    """

    about: Writer
    generator: CandidateGenerator
    n_ends: Counter[str] = field(default_factory=Counter[str])
    rest_s: float = 0.0
    rests_until: float = 0.0
    usual_s: float | None = None

    def grace(self, waited_s: float) -> float:
        """Return how long to wait for it once another one has written, after ``waited_s`` so far."""
        if self.usual_s is None:
            return GRACE_S[1]
        return min(max(FACTOR * self.usual_s - waited_s, GRACE_S[0]), GRACE_S[1])


class _SoFar:
    """The candidates of one reply so far, and whether they are enough.

    Args:
        enough: Decides about them; None: they never are.
        dealt: The styles of each writer.
        in_order: Puts candidates by writer into the order of the styles.
    """

    def __init__(
        self,
        enough: Enough | None,
        dealt: Mapping[OneWriter, Sequence[Style]],
        in_order: Callable[[Mapping[OneWriter, list[Candidate]]], list[Candidate]],
    ) -> None:
        self._enough, self._in_order = enough, in_order
        self._outstanding = dict(dealt)
        self._one_at_a_time = asyncio.Lock()
        self.written: dict[OneWriter, list[Candidate]] = {}
        self.stopped = False

    def part(self, one: OneWriter, styles: Sequence[Style]) -> Enough | None:
        """Return what decides for one of the writers, by the candidates of all."""
        if self._enough is None:
            return None

        async def enough(written: Sequence[Candidate], outstanding: Sequence[Style]) -> bool:
            return await self.are_enough(
                one, [_by(one, each) for each in with_seats(written, styles)], outstanding
            )

        return enough

    async def are_enough(
        self, one: OneWriter, written: list[Candidate], outstanding: Sequence[Style] = ()
    ) -> bool:
        """Take what a writer has written so far; return whether nothing more is awaited."""
        self.written[one], self._outstanding[one] = written, outstanding
        async with self._one_at_a_time:
            left = [style for styles in self._outstanding.values() for style in styles]
            found = self._in_order(self.written)
            if self._enough is not None and found and left and not self.stopped:
                self.stopped = await self._enough(found, left)
        return self.stopped


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
        self._timeout_s = timeout_s
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
        return await self.generate_until(context, styles)

    async def generate_until(
        self, context: Context, styles: Sequence[Style], enough: Enough | None = None
    ) -> list[Candidate]:
        """Generate until the candidates of all writers so far are enough, then cancel what is outstanding.

        Raises:
            GeneratorError: As for :meth:`generate`.
        """
        dealt: defaultdict[OneWriter, list[Style]] = defaultdict(list)
        for style in styles:
            dealt[self._writer_of(style)].append(style)
        so_far = _SoFar(enough, dealt, lambda found: self._in_order(found, dealt, styles))
        written = await self._written(context, dealt, so_far)
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
        self, context: Context, dealt: Mapping[OneWriter, Sequence[Style]], so_far: _SoFar
    ) -> dict[OneWriter, list[Candidate] | GeneratorError]:
        """Ask these writers at the same time; the slow ones are left out once there are candidates."""
        loop, found = asyncio.get_running_loop(), dict[OneWriter, list[Candidate] | GeneratorError]()
        began, first_s = loop.time(), None
        tasks = {asyncio.create_task(self._asked(one, context, of, so_far)): one for one, of in dealt.items()}
        pending = set(tasks)
        try:
            while pending and not so_far.stopped:
                waited_s = loop.time() - began
                if first_s is None:
                    left_s = self._timeout_s - waited_s
                else:
                    left_s = max(tasks[task].grace(first_s) for task in pending) - (waited_s - first_s)
                done, pending = await asyncio.wait(
                    pending, timeout=max(0.0, left_s), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    break
                found |= {tasks[task]: task.result() for task in done}
                for task in done:
                    result = task.result()
                    await so_far.are_enough(tasks[task], result if isinstance(result, list) else [])
                if first_s is None and any(isinstance(one, list) for one in found.values()):
                    first_s = loop.time() - began
        finally:
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending)
        if so_far.stopped:
            return {**so_far.written, **found}
        for task in pending:
            found[tasks[task]] = self._cut(tasks[task], loop.time() - began, first_s)
        return found

    async def _asked(
        self, one: OneWriter, context: Context, styles: Sequence[Style], so_far: _SoFar | None = None
    ) -> list[Candidate] | GeneratorError:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            enough = None if so_far is None else so_far.part(one, styles)
            if enough is not None and isinstance(one.generator, StopsEarly):
                found = await one.generator.generate_until(context, styles, enough)
            else:
                found = await one.generator.generate(context, styles)
        except GeneratorError as exc:
            return self._late(one, exc)
        except Exception as exc:  # boundary: whatever failed in one writer, the others answer
            return self._late(one, GeneratorUnavailable(type(exc).__name__))
        took_s, stopped = loop.time() - began, so_far is not None and so_far.stopped
        if not stopped:  # the time for the others is not known
            one.usual_s = took_s if one.usual_s is None else (one.usual_s + took_s) / 2
        one.n_ends["written" if stopped or len(found) == len(styles) else "missing"] += 1
        one.rest_s = one.rests_until = 0.0
        return [_by(one, candidate) for candidate in with_seats(found, styles)]

    def _cut(self, one: OneWriter, waited_s: float, first_s: float | None) -> GeneratorError:
        """Give a slow writer up for this reply; it rests only if it had the longest wait."""
        late = GeneratorError("a writer did not answer in time")
        one.usual_s = max(one.usual_s or 0.0, waited_s)
        if first_s is None or waited_s - first_s >= GRACE_S[1]:
            return self._late(one, late)
        one.n_ends["failed"] += 1
        return late

    def _late(self, one: OneWriter, exc: GeneratorError) -> GeneratorError:
        """Count a failure and let the writer rest, if another one is there."""
        one.n_ends["failed"] += 1
        if self._steady() < one.rests_until:  # requests of the same outage
            return exc
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
