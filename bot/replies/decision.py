"""Prompts and decisions: the member and the context, the chosen reply, and its impression.

Plain data and pure functions of :mod:`bot.replies.responder`; no Discord, no store.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from bot.generation import Candidate, Context, ContextReader
from bot.memory import Leaving
from personalization.ranking.explain import reason_of
from personalization.ranking.ranking import Ranking
from storage.records import ANOTHER, FALLBACK, FAQ_STYLE, Consent, Impression, Place, Who


class NothingToSay(Exception):
    """Every candidate was blank or dropped by the output filter; ask again in other words."""


def nowhere(channel_id: int, /) -> bool:
    """Return that nothing of this channel may be shown."""
    return False


@dataclass(frozen=True, slots=True)
class Prompt:
    """The member who asks, and the context of the reply.

    Attributes:
        who: The member who asks.
        context: The context, or the reader that fetches it once the turn has come.
        behind: Returns the Discord ids of the members whose prompts wait for this one to be answered.
        roles: Ids of the member's roles; they may widen the daily limit.
        asker: The member, marked if they left since they asked; None: they ask now.
        may_show: Returns whether a reply that was posted in a channel, by its id, may be shown in the prompt,
            because the readers of this conversation can read that channel.
    """

    who: Who
    context: Context | ContextReader
    behind: Callable[[], Collection[int]] = tuple
    roles: Collection[int] = ()
    asker: Asker | None = None
    may_show: Callable[[int], bool] = nowhere

    async def read(self) -> Context:
        """Return the context; read it if only a reader was given.

        Raises:
            Exception: The error of the reader.
        """
        return self.context if isinstance(self.context, Context) else await self.context.read()


@dataclass(eq=False)
class Asker:
    """A member whose answer is being generated.

    Attributes:
        who: The member.
        left: Whether they were forgotten or withdrew meanwhile.
        may_have_left: Whether a member left in another process meanwhile; news do not say who.
        under: Number of the key that the member has while the answer is decided; None without consent. The
            store refuses what was decided under another key.
    """

    who: Who
    left: bool = False
    may_have_left: bool = False
    under: bytes | None = None

    @property
    def may_be_remembered(self) -> bool:
        """Whether memory may keep the answer. The member's consent decides whether it is stored."""
        return not (self.left or self.may_have_left)


class Askers:
    """The members whose answers are being generated; an entry ends with its decision."""

    def __init__(self) -> None:
        self._askers: weakref.WeakSet[Asker] = weakref.WeakSet()

    def begin(self, who: Who) -> Asker:
        """Register a member whose answer is being generated."""
        asker = Asker(who)
        self._askers.add(asker)
        return asker

    def forget(self, leaving: Leaving) -> None:
        """Mark the members that leave, so that their answers are not recorded."""
        for asker in list(self._askers):
            if leaving.everyone:
                asker.may_have_left = True
            elif leaving.includes(asker.who):
                asker.left = True
                self._askers.discard(asker)  # it cannot return


@dataclass(frozen=True, slots=True)
class Decision:
    """A reply that is ready to be posted.

    Attributes:
        text: The text to post.
        consent: The member's decision when the reply was written.
        asker: The member; marked if they leave before the reply is recorded.
        impression: Recorded once the reply is posted, if the member agrees.
        written: All candidates that may be posted, for another answer.
        seconds: Time spent per part: ``turn``, ``context``, ``consent``, ``generate``, ``filter``, ``rank``.
        more: Continues a draft; yields longer and longer texts, each of which may be posted. None for a whole
            reply. It references the context, so it is dropped when the reply is finished.
        instead: Chooses among the other candidates if this one may not be posted. It references the context
            too, so it is dropped when the reply is posted.
    """

    text: str
    consent: Consent
    impression: Impression
    asker: Asker
    written: tuple[Candidate, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    more: Callable[[], AsyncGenerator[str]] | None = None
    instead: Callable[[], Awaitable[Decision]] | None = None


class ReplyObserver(Protocol):
    """Sees every reply while it is decided. Only the playground registers one (:mod:`bot.app.glass_box`).

    Both methods return at once and never raise. What they are given may hold a member's words, so an observer
    is registered in :mod:`bot.memory` and keeps nothing on disk.
    """

    def ranked(self, asker: Asker, message: str, ranking: Ranking) -> None:
        """Take the ranking of the candidates for a member's message; a later one replaces it."""
        ...

    def posted(self, place: Place, decision: Decision) -> None:
        """Take the reply that was posted; it is recorded by now, if the member agrees."""
        ...


def as_another(impression: Impression) -> Impression:
    """Mark the policy of an impression as another answer; an unranked one stays marked as a fallback."""
    if impression.policy == FALLBACK or impression.policy.startswith(ANOTHER):
        return impression
    return replace(impression, policy=ANOTHER + impression.policy)


def impression_of(texts: tuple[str, ...], styles: tuple[str, ...], ranking: Ranking) -> Impression:
    """Return the impression of the candidate that a ranking chose."""
    # An answer from /faq is a person's words, and a thumb under it is about a fact: it must not teach a head.
    teaches = styles[ranking.chosen] != FAQ_STYLE
    return Impression(
        candidates=texts,
        styles=styles,
        chosen=ranking.chosen,
        scores=ranking.scores,
        prior_scores=ranking.prior_scores,
        propensities=ranking.propensities,
        policy=ranking.policy,
        head_version=ranking.head_version,
        feature_id=ranking.feature_id if teaches else "",
        features=np.ascontiguousarray(ranking.features[ranking.chosen], dtype="<f4").tobytes()
        if teaches
        else b"",
        reason=reason_of(ranking.parts, uncertainty=ranking.uncertainty, n_labels=ranking.n_labels),
    )


def unranked(texts: tuple[str, ...], styles: tuple[str, ...]) -> Impression:
    """Return the impression of the first candidate, which is posted because the ranking failed."""
    first_only = (1.0, *(0.0 for _ in texts[1:]))
    return Impression(
        candidates=texts,
        styles=styles,
        chosen=0,
        scores=tuple(0.0 for _ in texts),
        prior_scores=tuple(0.0 for _ in texts),
        propensities=first_only,
        policy=FALLBACK,
        head_version=0,
        feature_id="",
        features=b"",
    )


class Stopwatch:
    """Measures the seconds that each part of a decision takes."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note how long a part took, since the part before."""
        now = time.perf_counter()
        self.laps[name] = now - self._last
        self._last = now
