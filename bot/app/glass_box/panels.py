"""Panels of the glass box: the latest replies and events, in memory only.

It sees replies (:class:`bot.replies.decision.ReplyObserver`) and rounds while they happen, and makes the data
of the page. It is registered in :mod:`bot.memory`: who forgets or withdraws leaves all panels at once.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from bot.app.glass_box.looking import Look, Looker, ShownReply, TasteNow
from bot.app.glass_box.telling import (
    Note,
    bars_of,
    changes,
    numbered,
    reply_note,
    reply_of,
    round_note,
    taste_changes,
)
from bot.memory import Leaving
from bot.replies.decision import Asker, Decision
from personalization.ranking.ranking import Ranking
from personalization.rounds.round_results import RoundReport
from storage.clock import utcnow
from storage.records import Consent, Place, Who

MOST_REPLIES = 8
MOST_NOTES = 50


class GlassBox:
    """Keeps what the page shows.

    Args:
        looker: Reads consent, tastes and labels.

    Attributes:
        changed: Set when something happened that the page may show.
        page: The page's data as JSON; empty until the next :meth:`refresh`.
    """

    def __init__(self, looker: Looker) -> None:
        self._looker = looker
        self._viewers: dict[Who, str] = {}
        self._asked: WeakKeyDictionary[Asker, tuple[str, Ranking]] = WeakKeyDictionary()
        self._replies: deque[ShownReply] = deque(maxlen=MOST_REPLIES)
        self._notes: deque[Note] = deque(maxlen=MOST_NOTES)
        self._rounds: list[Note] = []
        self._before: dict[Who, TasteNow] = {}
        self._last: Look | None = None
        self._n_replies = self._n_forgotten = 0
        self.changed = asyncio.Event()
        self.page = ""

    def show(self, viewers: Mapping[Who, str]) -> None:
        """Compare these members; the values are their names. Replies to others are not shown."""
        self._viewers = dict(viewers)
        self._forget_looks()

    # --- what happens -------------------------------------------------------------------------------------

    def ranked(self, asker: Asker, message: str, ranking: Ranking) -> None:
        """Take a ranking until its reply is posted."""
        self._asked[asker] = (message, ranking)

    def posted(self, place: Place, decision: Decision) -> None:
        """Show a reply, if it was ranked and a viewer asked."""
        who, asked = decision.asker.who, self._asked.pop(decision.asker, None)
        if asked is None or who not in self._viewers:
            return
        self._n_replies += 1
        reply = ShownReply(self._n_replies, who, asked[0], place, decision.impression, asked[1], utcnow())
        self._replies.append(reply)
        self._notes.append(reply_note(reply, self._viewers[who]))
        self.changed.set()

    def round_ended(self, report: RoundReport) -> None:
        """Show that a round ended, and soon what it changed."""
        self._rounds.append(round_note(report, utcnow()))
        self.changed.set()

    def forget(self, leaving: Leaving) -> None:
        """Empty the panels of the members that leave."""
        for asker in [asker for asker in self._asked if leaving.includes(asker.who)]:
            del self._asked[asker]
        replies = [reply for reply in self._replies if not leaving.includes(reply.who)]
        notes = [note for note in self._notes if note.who is None or not leaving.includes(note.who)]
        self._replies = deque(replies, MOST_REPLIES)
        self._notes = deque(notes, MOST_NOTES)
        for who in [who for who in self._before if leaving.includes(who)]:
            del self._before[who]
        self._forget_looks()

    def _forget_looks(self) -> None:
        """Drop what was read; a look that is under way is read again."""
        self._n_forgotten += 1
        self._last, self.page = None, ""
        self.changed.set()

    # --- what is shown ------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read what is known now, note what changed, and make the page's data.

        Raises:
            StorageError: Reading failed.
        """
        while True:
            n_forgotten, rounds = self._n_forgotten, list(self._rounds)
            look = await self._looker.look(tuple(self._viewers), tuple(self._replies), self._last)
            if n_forgotten == self._n_forgotten:
                break
        self._rounds = self._rounds[len(rounds) :]
        self._note_changes(look, rounds)
        self._last = look
        self.page = json.dumps(self._data(look), separators=(",", ":"))

    def _note_changes(self, look: Look, rounds: list[Note]) -> None:
        now, old = utcnow(), self._last
        if old is not None:
            self._notes.extend(changes(old, look, self._viewers, now))
        self._notes.extend(rounds)
        if old is not None:
            self._notes.extend(taste_changes(old, look, self._viewers, now))
            for who, taste in look.tastes.items():
                if taste.version != old.tastes[who].version:
                    self._before[who] = old.tastes[who]

    def _data(self, look: Look) -> dict[str, object]:
        viewers = tuple(self._viewers)
        return {
            "viewers": [
                {
                    "name": name,
                    "consent": look.tastes[who].consent.value,
                    "labels": look.tastes[who].n_labels,
                    "learnt": bool(look.tastes[who].version),
                    "contradicts": look.tastes[who].rolled_back,
                    "bars": bars_of(look.tastes[who], self._before.get(who, TasteNow(Consent.UNKNOWN))),
                }
                for who, name in self._viewers.items()
            ],
            "replies": [
                reply_of(reply, look, viewers, self._viewers[reply.who]) for reply in reversed(look.replies)
            ],
            "notes": numbered(self._notes),
        }
