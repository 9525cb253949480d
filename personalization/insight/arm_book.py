"""Counts which kinds of candidates are liked, for the dealing of candidates.

The counts are a pure function of the stored choices and of the feedback on them. A member's own counts are
read for each reply, so a thumb counts at once in every process, and what was undone or forgotten is gone. The
counts of all members and of the members of a server are held in memory, are made anew every hour, and are
dropped whenever a member leaves. In them a person and a server have bounded parts
(:mod:`personalization.sharing`), and a kind counts by how much more or less it is liked than the other
replies to the same member.

Of storage it imports only record types.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from personalization.labels.labels import Label
from personalization.ranking.arms import Tally
from personalization.ranking.dealing import EXAMPLES, PLAIN, SHOWN, STYLE, WISH, WRITER, Counts
from personalization.sharing import Owner, shares
from storage.records import FAQ_STYLE, UNKNOWN_STYLE, MemberId, PastChoice, ReplyId

NEWEST = 200
"""Latest labelled replies of a member that count; older ones are outdated by later taste and models."""
NEWEST_OF_ALL = 20_000
"""Latest labelled replies that count for many members."""
AT_ONCE = 2000
MOST_EACH = 20.0
"""Labels of one person that count at most in the counts of many members."""
_EDGE = 0.02
LEARNT = "learnt"
"""All learnt wishes as one kind."""

Labelling = Callable[[Sequence[str], int | None], Label | None]
"""Derives a label from the reactions and the rating on a reply."""


class _Page(Protocol):
    @property
    def choices(self) -> Sequence[PastChoice]: ...
    @property
    def last(self) -> ReplyId | None: ...


class AnsweredChoices(Protocol):
    """Access to choices with feedback, as :class:`storage.learning.past_choices.PastChoices` gives it."""

    async def answered(
        self, limit: int, *, of: MemberId | None = None, before: ReplyId | None = None
    ) -> _Page:
        """Read the newest choices with feedback, newest first."""
        ...


class ArmBook:
    """The counts at reply time.

    Args:
        choices: Past choices and the feedback on them.
        labelling: Returns the labelling in use in a server, by pseudonym.
        min_members: Least effective number of persons behind the counts of many members.
    """

    def __init__(
        self,
        choices: AnsweredChoices,
        labelling: Callable[[bytes], Awaitable[Labelling]],
        *,
        min_members: int,
    ) -> None:
        self._choices, self._labelling, self._min_members = choices, labelling, min_members
        self._of_all: Counts = {}
        self._of_servers: Mapping[bytes, Counts] = {}
        self._epoch = 0  # counts clearings: counts whose reading spans one may hold a member who left

    async def levels(self, member_id: MemberId | None, guild: bytes) -> list[Counts]:
        """Return the counts for a reply: of all members, of the server, of the member.

        Args:
            member_id: The member; None: without counts of their own.
            guild: Pseudonym of the server.
        """
        pooled = [self._of_all, self._of_servers.get(guild, {})]
        return [*pooled, {} if member_id is None else await self.own(member_id, guild)]

    async def own(self, member_id: MemberId, guild: bytes) -> Counts:
        """Count the kinds of replies that a member liked and disliked."""
        page = await self._choices.answered(NEWEST, of=member_id)
        labelling = await self._labelling(guild)
        return counts_of(page.choices, labelling) if page.choices else {}

    async def kinds(self, member_id: MemberId, guild: bytes) -> Counts:
        """Count the replies of each kind that a member liked and disliked, for the member to see.

        All learnt wishes are one kind.
        """
        labelling = await self._labelling(guild)

        def clear(reactions: Sequence[str], rating: int | None) -> Label | None:
            label = labelling(reactions, rating)
            return None if label is None else Label(float(label.value > 0.5), 1.0)

        page = await self._choices.answered(NEWEST, of=member_id)
        kinds = {part: dict(of) for part, of in counts_of(page.choices, clear).items()}
        if wishes := kinds.get(WISH):
            plain = wishes.pop(PLAIN, Tally())
            kinds[WISH] = {PLAIN: plain}
            if wishes:
                kinds[WISH][LEARNT] = _summed([(one.liked, one.disliked) for one in wishes.values()])
        return kinds

    async def refresh(self) -> None:
        """Count anew what many members like; nothing changes if a member leaves meanwhile.

        Raises:
            StorageError: Reading failed.
        """
        epoch = self._epoch
        found = await self._newest()
        guilds = {choices[0].guild for choices in found.values()}
        rules = {guild: await self._labelling(guild) for guild in sorted(guilds)}
        of_all, of_servers = await asyncio.to_thread(pooled_counts, found, rules, self._min_members)
        if epoch == self._epoch:
            self._of_all, self._of_servers = of_all, of_servers

    async def _newest(self) -> dict[MemberId, list[PastChoice]]:
        """Read the newest choices with feedback, by member."""
        found: defaultdict[MemberId, list[PastChoice]] = defaultdict(list)
        before, n_read = None, 0
        while n_read < NEWEST_OF_ALL:
            page = await self._choices.answered(AT_ONCE, before=before)
            for choice in page.choices:
                found[choice.member_id].append(choice)
            n_read, before = n_read + AT_ONCE, page.last
            if before is None:
                break
        return found

    def clear(self) -> None:
        """Drop the counts of many members until they are counted anew."""
        self._epoch += 1
        self._of_all, self._of_servers = {}, {}


def counts_of(choices: Iterable[PastChoice], labelling: Labelling) -> Counts:
    """Count the labels of one member by part and option."""
    counts: defaultdict[str, defaultdict[str, list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for choice in choices:
        label = labelling(choice.reactions, choice.rating)
        if label is None or choice.style in (FAQ_STYLE, UNKNOWN_STYLE):
            continue
        weight = min(1.0, label.weight)
        for part, option in options_of(choice).items():
            counts[part][option].append((weight * label.value, weight * (1 - label.value)))
    return {part: {option: _summed(found) for option, found in of.items()} for part, of in counts.items()}


def options_of(choice: PastChoice) -> dict[str, str]:
    """Return the option of each part of the posted candidate; of old replies only the style is known."""
    if (seat := choice.seat) is None:
        return {STYLE: choice.style}
    shown = SHOWN if seat.examples else PLAIN
    return {STYLE: seat.style, WRITER: seat.writer, WISH: seat.wish, EXAMPLES: shown}


@dataclass(frozen=True, slots=True)
class _Member:
    owner: Owner
    counts: Counts = field(default_factory=dict[str, dict[str, Tally]])


def pooled_counts(
    choices: Mapping[MemberId, Sequence[PastChoice]], rules: Mapping[bytes, Labelling], min_members: int
) -> tuple[Counts, dict[bytes, Counts]]:
    """Count what all members like, and what the members of each server like. Blocks.

    Args:
        choices: Choices of each member, newest first.
        rules: The labelling of each server.
        min_members: Least effective number of persons behind counts.
    """
    servers: defaultdict[bytes, list[_Member]] = defaultdict(list)
    for own in choices.values():
        guild = own[0].guild
        owner = Owner(own[0].person, guild)
        servers[guild].append(_Member(owner, counts_of(own[:NEWEST], rules[guild])))
    of_servers = {guild: pooled(members, min_members) for guild, members in servers.items()}
    everyone = [one for members in servers.values() for one in members]
    return pooled(everyone, min_members), {guild: counts for guild, counts in of_servers.items() if counts}


def pooled(members: Sequence[_Member], min_members: int) -> Counts:
    """Count what many members like, each person and server with a bounded part; empty if they are too few.

    The same holds for each option: one that few persons have labelled is left out.

    An option is liked by the mean of all plus its mean lead over the other replies to the same members, so
    that members who like everything do not speak for the options that they happen to get.
    """
    weights = [sum(tally.n for tally in one.counts.get(STYLE, {}).values()) for one in members]
    parts = shares(weights, [one.owner for one in members], most=MOST_EACH, min_members=min_members)
    if parts is None:
        return {}
    found: dict[str, dict[str, Tally]] = {}
    for part in (STYLE, WRITER, WISH, EXAMPLES):
        of_part = [(one.owner, one.counts.get(part, {})) for one in members]
        liked, n = _sums(
            [
                (share * math.fsum(tally.liked for tally in own.values()), share * _labels(own.values()))
                for (_, own), share in zip(of_part, parts.tolist(), strict=True)
            ]
        )
        options = sorted({option for _, own in of_part for option in own}) if n else ()
        led = {option: _lead_of(option, of_part, min_members) for option in options}
        found[part] = {option: _led(liked / n, *lead) for option, lead in led.items() if lead is not None}
    return {part: options for part, options in found.items() if options}


def _lead_of(
    option: str, of_part: Sequence[tuple[Owner, Mapping[str, Tally]]], min_members: int
) -> tuple[float, float] | None:
    """Return the labels of an option and its lead over the others; None: too few persons labelled it."""
    labelled = [(owner, own[option], own) for owner, own in of_part if option in own and own[option].n]
    weights = [tally.n for _, tally, _ in labelled]
    parts = shares(weights, [owner for owner, _, _ in labelled], most=MOST_EACH, min_members=min_members)
    if parts is None:
        return None
    leads: list[tuple[float, float]] = []
    for (_, tally, own), share in zip(labelled, parts.tolist(), strict=True):
        mean = math.fsum(one.liked for one in own.values()) / _labels(own.values())
        leads.append((share * tally.n, share * (tally.liked - tally.n * mean)))
    return _sums(leads)


def _led(mean: float, n: float, lead: float) -> Tally:
    rate = min(1 - _EDGE, max(_EDGE, mean + lead / n)) if n else mean
    return Tally(n * rate, n * (1 - rate))


def _labels(tallies: Iterable[Tally]) -> float:
    return math.fsum(tally.n for tally in tallies)


def _sums(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Sum both numbers exactly, so that the order of members has no effect."""
    return math.fsum(one for one, _ in pairs), math.fsum(other for _, other in pairs)


def _summed(pairs: Sequence[tuple[float, float]]) -> Tally:
    return Tally(*_sums(pairs))
