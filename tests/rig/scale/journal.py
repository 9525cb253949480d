"""What happened to each prompt: when it was sent, generated and answered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Asked:
    """One prompt.

    Attributes:
        number: Its number.
        message_id: The message.
        channel_id: Its channel.
        shard_id: The shard of its server.
        sent_s: When it was sent, seconds of the monotonic clock.
        heard: Whether the shard had a connection then.
        replies: Message and time of each reply.
        begun: Process and time of each generation that began.
        ended: Process and time of each generation that ended.
    """

    number: int
    message_id: int
    channel_id: int
    shard_id: int
    sent_s: float
    heard: bool
    replies: list[tuple[int, float]] = field(default_factory=list)
    begun: list[tuple[int, float]] = field(default_factory=list)
    ended: list[tuple[int, float]] = field(default_factory=list)

    @property
    def took_s(self) -> float:
        """Seconds from the message to the first reply."""
        return self.replies[0][1] - self.sent_s

    @property
    def overhead_s(self) -> float:
        """Seconds from the message to the reply without generation; needs one generation and a reply."""
        return self.took_s - (self.ended[0][1] - self.begun[0][1])


@dataclass(frozen=True)
class Dark:
    """A time in which a shard had no connection.

    Attributes:
        shard_id: The shard.
        since_s: When its connection was lost.
        until_s: When its next session began.
    """

    shard_id: int
    since_s: float
    until_s: float

    @property
    def took_s(self) -> float:
        """Its length, seconds."""
        return self.until_s - self.since_s


def read_generations(journal: Path, asked: Iterable[Asked]) -> int:
    """Note the generations of each prompt; return how many were of no known prompt."""
    by_number = {one.number: one for one in asked}
    n_unknown = 0
    if not journal.exists():
        return 0
    for line in journal.read_text().splitlines():
        what, number, pid, at_s = line.split()
        one = by_number.get(int(number))
        if one is None:
            n_unknown += 1
        else:
            (one.begun if what == "begin" else one.ended).append((int(pid), float(at_s)))
    return n_unknown
