"""Tallies: counts about members and servers that must not be stored, shared by all processes.

Daily limits, "was invited" and "has reported" are about members who may not have agreed, so no table may
hold them. Each process keeps them in memory. On PostgreSQL the processes notify each other of every change,
so all of them count the same, and a process that takes over a shard goes on counting. A process that begins,
or that missed notifications, asks the others for what they know. The counts end with the last process.

A tally is named by a keyed hash of its own (:meth:`storage.keys.pseudonyms.Pseudonyms.tally`), which matches
no row of any table. It ends by the steady clock, so a jump of the host clock neither ends nor stretches it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cachetools import FIFOCache

from storage.database.backend import Board, NoBoard

log = logging.getLogger(__name__)

MOST_COUNTED = 200_000
"""Tallies in memory at once; the one that was first counted is evicted."""
SLACK_S = 60.0
"""How far the ends of one tally may differ between two processes, seconds."""
_PAYLOAD = 7500
"""Longest payload of a notification, characters; PostgreSQL refuses 8,000 bytes."""
_CHANGES, _ALL, _ASKS = "+", "=", "?"
_FIELDS = 5


@dataclass(slots=True)
class Tally:
    """Two counts that end together.

    Attributes:
        began_s: When it began, on the steady clock of this process.
        lasts_s: Seconds after which it ends.
        messages: First count; 1 for a claim.
        tokens: Second count.
    """

    began_s: float
    lasts_s: float
    messages: int = 0
    tokens: int = 0

    def add(self, messages: int, tokens: int) -> None:
        """Add to both counts; negative numbers give back, and no count falls below 0."""
        self.messages, self.tokens = max(0, self.messages + messages), max(0, self.tokens + tokens)


class Tallies:
    """The tallies that this process knows. Reached as ``Store.tallies``. No call does I/O but :meth:`share`.

    Args:
        name_of: Returns the keyed hash for a kind of tally and its subject.
        steady_s: The steady clock, seconds.
        board: Carries changes between processes.
        size: Tallies in memory at once.
    """

    def __init__(
        self,
        name_of: Callable[[str, bytes], bytes],
        steady_s: Callable[[], float],
        board: Board | None = None,
        size: int = MOST_COUNTED,
    ) -> None:
        self._name_of, self._steady_s = name_of, steady_s
        self._board = NoBoard() if board is None else board
        self._me = secrets.token_hex(8)
        self._tallies: FIFOCache[bytes, Tally] = FIFOCache(size)
        self._untold: dict[bytes, tuple[int, int]] = {}
        self._is_asked = False
        self.shared = False

    def __len__(self) -> int:
        """Number of tallies in memory."""
        return len(self._tallies)

    async def share(self) -> None:
        """Tell the other processes of every change from now on, and ask them for what they know."""
        self.shared = await self._board.open(self._hear, self._to_tell, lambda: f"{self._me} {_ASKS}")

    def of(self, kind: str, subject: bytes) -> Tally | None:
        """Return a tally; None if nothing was counted, or it has ended.

        Args:
            kind: What is counted.
            subject: Whom or what it is about, as a pseudonym.
        """
        return self._running(self._name_of(kind, subject))

    def add(self, kind: str, subject: bytes, lasts_s: float, *, messages: int = 0, tokens: int = 0) -> None:
        """Add to a tally, and begin it if there is none.

        Args:
            kind: What is counted.
            subject: Whom or what it is about, as a pseudonym.
            lasts_s: Seconds after which a new tally ends.
            messages: Added to the first count; negative numbers give back.
            tokens: Added to the second count.
        """
        name = self._name_of(kind, subject)
        tally = self._running(name)
        if tally is None:
            tally = self._tallies[name] = Tally(self._steady_s(), lasts_s)
        tally.add(messages, tokens)
        if self.shared:
            before = self._untold.get(name, (0, 0))
            self._untold[name] = before[0] + messages, before[1] + tokens
            self._board.wake()

    def _running(self, name: bytes) -> Tally | None:
        tally = self._tallies.get(name)
        if tally is not None and self._age(tally) >= tally.lasts_s:
            del self._tallies[name]
            return None
        return tally

    def _age(self, tally: Tally) -> float:
        return self._steady_s() - tally.began_s

    # --- other processes -----------------------------------------------------------------------------------

    def _to_tell(self) -> list[str]:
        """Return and drop the payloads that wait: changes first, then everything if a process asked."""
        untold, self._untold = self._untold, {}
        changes = ((name, tally, *untold[name]) for name in untold if (tally := self._running(name)))
        lines = [*self._payloads(_CHANGES, changes)]
        if self._is_asked:
            self._is_asked = False
            running = ((name, tally) for name in list(self._tallies) if (tally := self._running(name)))
            lines += self._payloads(_ALL, ((name, one, one.messages, one.tokens) for name, one in running))
        return lines

    def _payloads(self, sign: str, entries: Iterable[tuple[bytes, Tally, int, int]]) -> Iterator[str]:
        begun = payload = f"{self._me} {sign}"
        for name, tally, messages, tokens in entries:
            entry = f" {name.hex()}:{self._age(tally):.1f}:{tally.lasts_s:.0f}:{messages}:{tokens}"
            if len(payload) + len(entry) > _PAYLOAD:
                yield payload
                payload = begun
            payload += entry
        if payload != begun:
            yield payload

    def _hear(self, payload: str) -> None:
        """Apply what another process told; what cannot be read comes from another version and is left out."""
        try:
            sender, sign, *entries = payload.split(" ")
            if sender == self._me:
                return
            if sign == _ASKS:
                self._is_asked = True
                self._board.wake()
            for entry in entries:
                self._learn(sign, entry)
        except ValueError:
            log.warning(
                "a notification about counts of another process cannot be read; is it another version?"
            )

    def _learn(self, sign: str, entry: str) -> None:
        shown = entry.split(":")
        if len(shown) != _FIELDS:
            raise ValueError(f"Expected {_FIELDS} fields, found {len(shown)}.")
        name, age_s, lasts_s = bytes.fromhex(shown[0]), float(shown[1]), float(shown[2])
        messages, tokens = int(shown[3]), int(shown[4])
        began_s, tally = self._steady_s() - age_s, self._running(name)
        if tally is not None and began_s > tally.began_s + tally.lasts_s - SLACK_S:
            tally = None  # it has ended in the other process
        if tally is None:
            tally = self._tallies[name] = Tally(began_s, lasts_s)
        tally.began_s = min(tally.began_s, began_s)
        if sign == _CHANGES:
            tally.add(messages, tokens)
        else:
            tally.messages, tally.tokens = max(tally.messages, messages), max(tally.tokens, tokens)


class SharedClaims:
    """Claims that hold in every process: a question is asked once, a person counts once.

    Args:
        tallies: Hold the claims.
        kind: What is claimed.
        lasts_s: Seconds for which a claim holds.
    """

    def __init__(self, tallies: Tallies, kind: str, lasts_s: float) -> None:
        self._tallies, self._kind, self._lasts_s = tallies, kind, lasts_s

    def claim(self, key: bytes) -> bool:
        """Return True for the first call with this key, False for every later one."""
        if key in self:
            return False
        self._tallies.add(self._kind, key, self._lasts_s, messages=1)
        return True

    def __contains__(self, key: bytes) -> bool:
        """Return whether a key is claimed."""
        tally = self._tallies.of(self._kind, key)
        return tally is not None and tally.messages > 0

    def release(self, key: bytes) -> None:
        """Release a key, so that it can be claimed again."""
        if key in self:
            self._tallies.add(self._kind, key, self._lasts_s, messages=-1)
