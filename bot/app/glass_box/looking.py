"""Reads what the glass box shows: consent, tastes and labels of the viewers, and rankings for each of them.

Nothing is kept here and nothing is written. A viewer who has not agreed has no taste: the ranking for them is
the base ranking, which is the same for every member without labels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from bot.app.composition import House
from bot.replies.consent import consent_of
from personalization.insight.taste import style_differences
from personalization.labels.labels import Label
from personalization.ranking.ranker import PRIOR_VERSION
from personalization.ranking.ranking import Ranking
from storage.records import NOWHERE, Consent, Impression, MemberId, Place, ReplyId, Who

NEWEST = 20
"""Latest feedback of a viewer that is read: more than the replies that are shown."""


@dataclass(frozen=True, eq=False, slots=True)
class ShownReply:
    """A posted reply, with all its candidates.

    Attributes:
        number: Counts the replies since the playground was opened.
        who: The member who asked.
        message: What they asked.
        place: Where the reply is.
        impression: Candidates, styles, scores and propensities of the choice.
        ranking: Features and relevance of the candidates, by which they are ranked for other members.
        at: When it was posted, aware UTC.
    """

    number: int
    who: Who
    message: str
    place: Place
    impression: Impression
    ranking: Ranking
    at: datetime


@dataclass(frozen=True, slots=True)
class TasteNow:
    """What is known of a viewer's taste.

    Attributes:
        consent: Their decision about learning.
        version: Round that made their head; 0 means that the base ranking answers.
        n_labels: Labels behind the head.
        differences: How much more the head weighs each style feature than the average taste, logits.
        rolled_back: Whether the average taste answers, because the labels contradict each other.
    """

    consent: Consent
    version: int = PRIOR_VERSION
    n_labels: int = 0
    differences: tuple[float, ...] = ()
    rolled_back: bool = False


@dataclass(frozen=True, slots=True)
class Opinion:
    """The asker's feedback on a reply.

    Attributes:
        reactions: Their reactions under it.
        rating: Their rating, 1 to 5; None: not rated.
        label: What rounds learn from it; None: nothing.
    """

    reactions: tuple[str, ...] = ()
    rating: int | None = None
    label: Label | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """Everything that is known at one moment.

    Attributes:
        replies: The latest replies, the oldest first.
        tastes: Taste of each viewer.
        opinions: The asker's feedback on each reply, by its number.
        rankings: Ranking of each reply's candidates for each viewer, by (number, viewer).
        reply_ids: Stored id of each reply that is stored, by its number.
    """

    replies: tuple[ShownReply, ...]
    tastes: Mapping[Who, TasteNow]
    opinions: Mapping[int, Opinion]
    rankings: Mapping[tuple[int, Who], Ranking]
    reply_ids: Mapping[int, ReplyId] = field(default_factory=dict[int, ReplyId])


class Looker:
    """Reads the store and the published heads.

    Args:
        house: The parts of the playground's bot.
    """

    def __init__(self, house: House) -> None:
        self._store, self._ranker, self._taste = house.store, house.ranker, house.parts.taste

    async def look(
        self, viewers: Collection[Who], replies: Sequence[ShownReply], last: Look | None = None
    ) -> Look:
        """Read what is known now.

        Args:
            viewers: The members to compare.
            replies: The latest replies to viewers, the oldest first.
            last: The look before. Its ids, and its rankings for members with the same head, are used again.

        Raises:
            StorageError: Reading failed.
        """
        shown: dict[int, ReplyId] = await self._reply_ids(replies, last)
        tastes: dict[Who, TasteNow] = {}
        rankings: dict[tuple[int, Who], Ranking] = {}
        opinions: dict[int, Opinion] = {}
        for who in viewers:
            consent, member_id = await consent_of(self._store, who)
            tastes[who] = TasteNow(consent) if member_id is None else await self._taste_of(who, member_id)
            for reply in replies:
                known = None if last is None else last.rankings.get((reply.number, who))
                if known is None or known.head_version != tastes[who].version:
                    known = await self._ranking(reply, who, member_id, tastes[who].version)
                rankings[reply.number, who] = known
            given = {} if member_id is None else await self._opinions_of(who)
            for reply in replies:
                if reply.who == who:
                    opinions[reply.number] = given.get(shown.get(reply.number, NOWHERE), Opinion())
        return Look(tuple(replies), tastes, opinions, rankings, shown)

    async def _taste_of(self, who: Who, member_id: MemberId) -> TasteNow:
        head, version, n_labels = await self._ranker.published(member_id)
        if head is None:
            return TasteNow(Consent.AGREED)
        average = await self._ranker.head_of(None, self._store.guild_id(who))
        differences = tuple(float(one) for one in style_differences(head, average))
        return TasteNow(Consent.AGREED, version, n_labels, differences, rolled_back=not head.share)

    async def _ranking(
        self, reply: ShownReply, who: Who, member_id: MemberId | None, version: int
    ) -> Ranking:
        """Rank a reply's candidates for a viewer, with the same draws each time, so that numbers stand still.

        The ranking that chose the reply is returned where it would be repeated: for the asker until their
        head changes, and for viewers without a head if it was a base ranking.
        """
        if version == reply.ranking.head_version and (who == reply.who or version == PRIOR_VERSION):
            return reply.ranking
        guild, rng = self._store.guild_id(who), np.random.default_rng(0)
        return await self._ranker.rank_again(member_id, reply.ranking, guild=guild, rng=rng)

    async def _reply_ids(self, replies: Sequence[ShownReply], last: Look | None) -> dict[int, ReplyId]:
        """Return the ids of stored replies. A reply is stored later if its asker agrees under it."""
        found: dict[int, ReplyId] = {}
        for reply in replies:
            reply_id = None if last is None else last.reply_ids.get(reply.number)
            reply_id = reply_id or await self._store.replies.of_message(reply.place.message_ids[0])
            if reply_id is not None:
                found[reply.number] = reply_id
        return found

    async def _opinions_of(self, who: Who) -> dict[ReplyId, Opinion]:
        """Return a member's latest feedback, by reply."""
        summary = await self._store.feedback.summary(who, NEWEST)
        if not summary.latest:
            return {}
        label_of = await self._taste.labelling(self._store.guild_id(who))
        return {
            one.reply_id: Opinion(one.reactions, one.rating, label_of(one.reactions, one.rating))
            for one in summary.latest
        }
