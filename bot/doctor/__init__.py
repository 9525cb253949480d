"""``simpatico doctor``: looks at everything a start needs, changes nothing, and says what to do.

One line for each thing: ok, warning (it will run, but look at this) or failed (it will not). Every check asks
the part itself, the way a start would: the key store opens, the encoder encodes, Discord is asked who the
token is. :mod:`bot.doctor.command` is the command; the checks stand in modules by what they look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a thing stands."""

    OK = "ok"
    WARNING = "warning"
    """It will run, and somebody should look at it."""
    FAILED = "failed"
    """It will not run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        what: The thing, in a word or two.
        verdict: How it stands.
        said: What was found, and what to do about it. Never a token, key, text or id of a person.
    """

    what: str
    verdict: Verdict
    said: str


def ok(what: str, said: str) -> Finding:
    """A thing that is as it should be."""
    return Finding(what, Verdict.OK, said)


def warning(what: str, said: str) -> Finding:
    """A thing that somebody should look at."""
    return Finding(what, Verdict.WARNING, said)


def failed(what: str, said: str) -> Finding:
    """A thing that keeps the bot from running."""
    return Finding(what, Verdict.FAILED, said)
