"""Terms of the map of personal data: whom a stored column is about, and its form."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Whose(StrEnum):
    """The person or group that a column is about."""

    ASKER = "asker"
    """The member the bot answered."""
    REACTOR = "reactor"
    """The member who reacted or rated."""
    MEMBER = "member"
    """The member: decision, key, head."""
    ALL = "all"
    """Many members together."""
    SERVER = "server"
    """A server: what its managers entered for it. Which manager did so is not stored."""
    NOBODY = "nobody"


class Form(StrEnum):
    """Protection of a stored value."""

    SEALED = "sealed"
    """Encrypted with AES-256-GCM, bound to its place."""
    PSEUDONYM = "pseudonym"
    """HMAC of a Discord id under a secret key."""
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Kept:
    """One column of ``data.db``, ``keys.db`` or ``ledger.db``.

    Attributes:
        what: What the column holds, in words for members.
        erased: Actions that delete the value, in words for members.
        retention: How long the value is kept without such an action, in words for members.
    """

    table: str
    column: str
    whose: Whose
    form: Form
    what: str
    erased: str
    retention: str

    @property
    def exported(self) -> bool:
        """Whether ``/my-data`` shows it: every column about one member, except the data key."""
        return self.whose in (Whose.ASKER, Whose.REACTOR, Whose.MEMBER) and self.what != A_KEY


A_KEY = "the member's data key"
