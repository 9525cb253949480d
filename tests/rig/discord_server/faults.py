"""Scripted faults of the REST API: refused, delayed and lost answers."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field


@dataclass
class Fault:
    """What happens to the next requests of a route.

    Attributes:
        method: Method, or "*".
        path: Pattern of the path after the version, as of :mod:`fnmatch`: ``/channels/*/messages``.
        status: Status of the answer; None: the request is carried out.
        retry_after_s: Wait that a 429 asks for.
        everywhere: Whether a 429 is of the global limit.
        code: Discord's error code in the answer.
        lost: Whether the connection breaks after the request was carried out, before the answer.
        delay_s: Seconds before the request is carried out.
        times: Requests that it happens to.
        n_met: Requests that it has happened to.
    """

    method: str
    path: str
    status: int | None = None
    retry_after_s: float = 0.0
    everywhere: bool = False
    code: int = 0
    lost: bool = False
    delay_s: float = 0.0
    times: int = 1
    n_met: int = 0


@dataclass
class Faults:
    """The faults that are due, in the order in which they were scripted."""

    due: list[Fault] = field(default_factory=list)

    def add(self, method: str, path: str, **what: object) -> Fault:
        """Script a fault; see :class:`Fault` for the keywords."""
        fault = Fault(method, path, **what)  # type: ignore[arg-type]
        self.due.append(fault)
        return fault

    def met_by(self, method: str, path: str) -> Fault | None:
        """Return the first fault that this request meets, and use it up by one."""
        for fault in self.due:
            if fault.method in (method, "*") and fnmatch.fnmatch(path, fault.path):
                fault.n_met += 1
                if fault.n_met >= fault.times:
                    self.due.remove(fault)
                return fault
        return None
