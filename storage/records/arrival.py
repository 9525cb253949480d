"""Time at which an act of a member came. Consent and pause are judged by it, not by the time of writing.

No SQL and no keys here. Import it from :mod:`storage.records`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

CLOCK_JUMP = timedelta(seconds=1)
"""Difference of the two clocks from which the host clock counts as set back."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Time at which an act came, by the clocks of this host, and time at which Discord took it.

    Attributes:
        at: Time of the host clock, aware UTC.
        monotonic_s: Time of the monotonic clock, seconds.
        sent_at: Discord's own time of the act, aware UTC; None where Discord sends none, as for reactions.
            It is compared only with other times of Discord, because the two clocks differ.
    """

    at: datetime
    monotonic_s: float
    sent_at: datetime | None = None

    def came_by(self, now: Arrival) -> datetime:
        """Return the time of arrival; after a jump of the host clock, the earlier of both clocks' times.

        A host clock that is set back makes a waiting act look newer than a consent that came after it.
        The monotonic clock shows how long the act waited.
        """
        by_waiting = now.at - timedelta(seconds=now.monotonic_s - self.monotonic_s)
        return by_waiting if self.at - by_waiting > CLOCK_JUMP else self.at

    def is_before(self, other: Arrival) -> bool:
        """Return whether this act came before another one in the same process, whatever the host clock says.

        Discord's own times also show an act that was overtaken on its way to this process.
        """
        if self.sent_at is not None and other.sent_at is not None and self.sent_at < other.sent_at:
            return True
        return self.monotonic_s < other.monotonic_s
