"""``simpatico doctor``: checks everything that a start needs, changes nothing, and says what to do.

It prints one line per check: ok, warning (the bot runs, but the host should look) or failed (it does not
run). Every check uses the part itself, as a start would: it opens the key store, encodes a text, logs in to
Discord. :mod:`bot.doctor.command` runs the checks; the other modules hold them, by subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    """The bot runs, but the host should look at it."""
    FAILED = "failed"
    """The bot does not run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check, for people.

    Attributes:
        what: Subject of the check, one or two words.
        verdict: The result.
        said: The finding and what to do about it. Never a token, key, text or id of a person.
    """

    what: str
    verdict: Verdict
    said: str


def ok(what: str, said: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(what, Verdict.OK, said)


def warning(what: str, said: str) -> Finding:
    """Return a finding that the host should look at."""
    return Finding(what, Verdict.WARNING, said)


def failed(what: str, said: str) -> Finding:
    """Return a finding that prevents the bot from running."""
    return Finding(what, Verdict.FAILED, said)
