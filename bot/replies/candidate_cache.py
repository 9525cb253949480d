"""Cache of the candidates of the latest replies, from which another answer is chosen.

In memory only, bounded per member and over all members. Without an entry, new candidates are written. Holds
the bot's own texts and no word of a member's. No discord import here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cachetools import LRUCache

from bot.generation import Candidate
from bot.memory import Leaving
from storage.records import Place, Who

MOST_MEMBERS = 1000
REPLIES_EACH = 3


@dataclass(eq=False)
class Draft:
    """The candidates for one prompt.

    Attributes:
        candidates: All that may be posted.
        posted: Texts that were posted already.
        message_ids: The messages they were posted in.
    """

    candidates: list[Candidate]
    posted: set[str] = field(default_factory=set[str])
    message_ids: set[int] = field(default_factory=set[int])

    def left(self) -> list[Candidate]:
        """Return the whole candidates that were not posted yet, each text once."""
        whole = [one for one in self.candidates if not one.unfinished and one.text not in self.posted]
        return list({one.text: one for one in whole}.values())


class Drafts:
    """The latest drafts of the members who were answered last."""

    def __init__(self) -> None:
        self._by_member: LRUCache[Who, deque[Draft]] = LRUCache(MOST_MEMBERS)

    def keep(self, who: Who, place: Place, candidates: Sequence[Candidate], text: str) -> None:
        """Add the candidates for a member's prompt, of which ``text`` was posted; evict the oldest entry."""
        draft = Draft(list(candidates), {text}, set(place.message_ids))
        self._by_member.setdefault(who, deque(maxlen=REPLIES_EACH)).append(draft)

    def extend(
        self, who: Who, message_id: int, place: Place, *, candidates: Sequence[Candidate], text: str
    ) -> None:
        """Add another answer to the draft of the answer in this message."""
        draft = self.of(who, message_id)
        if draft is None:
            self.keep(who, place, candidates, text)
            return
        known = {one.text for one in draft.candidates}
        draft.candidates += [one for one in candidates if one.text not in known]
        draft.posted.add(text)
        draft.message_ids |= set(place.message_ids)

    def of(self, who: Who, message_id: int) -> Draft | None:
        """Return the draft of this member's reply in this message, else None."""
        return next((one for one in self._by_member.get(who, ()) if message_id in one.message_ids), None)

    def forget(self, leaving: Leaving) -> None:
        """Drop the drafts of members that leave; all drafts if one of them contributed to learnt data."""
        for who in [who for who in self._by_member if leaving.taught or leaving.includes(who)]:
            del self._by_member[who]
