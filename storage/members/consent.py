"""Members' consent: reads it, records it, and checks it before every other write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, select, update

from storage.database.backend import Reader
from storage.database.change_numbers import mark_due
from storage.database.schema import (
    MemberStatus,
    feedback,
    heads,
    members,
    preferences,
    remarks,
    replies,
    wishes,
)
from storage.database.writer import Writer
from storage.errors import NoConsent, StorageError
from storage.keys.erasure_ledger import Decision
from storage.keys.key_store import KeyStore
from storage.members.decision_times import DecisionTimes, Reactor
from storage.records import Consent, MemberId, Who

_DECISIONS = {
    None: Consent.UNKNOWN,
    MemberStatus.AGREED: Consent.AGREED,
    MemberStatus.REFUSED: Consent.REFUSED,
    MemberStatus.FORGETTING: Consent.UNKNOWN,
    MemberStatus.REFUSING: Consent.REFUSED,
}


class Consents:
    """Reads and records consent. Reached as ``Store.consent``."""

    def __init__(
        self,
        keys: KeyStore,
        reader: Reader,
        writer: Writer,
        *,
        now: Callable[[], datetime],
        decided: DecisionTimes,
    ) -> None:
        self._keys, self._reader, self._writer, self._now = keys, reader, writer, now
        self._decided = decided

    async def of(self, who: Who) -> Consent:
        """Return this member's decision."""
        member_id = self._keys.pseudonyms.member(who)
        return await self._reader.run(lambda c: consent_of(c, member_id))

    async def count(self) -> int:
        """Return how many members of all servers agree."""
        agreed = select(func.count()).where(members.c.standing == MemberStatus.AGREED)
        return await self._reader.run(lambda c: c.execute(agreed).scalar_one())

    async def key_id_of(self, who: Who) -> bytes | None:
        """Return the number of this member's key, which is new after each consent; None without consent."""
        member_id = self._keys.pseudonyms.member(who)
        return await self._reader.run(lambda c: key_id_of(c, member_id))

    async def bound(self, who: Who) -> Who | None:
        """Return this member bound to the consent they have now; None without it, or if they acted before it.

        A change of this member is refused once they were forgotten, also if they agreed again since.
        """
        member_id = self._keys.pseudonyms.member(who)
        try:
            reactor = await self._reader.run(lambda c: require_given(c, member_id, who, self._decided))
        except NoConsent:
            return None
        return replace(who, under=reactor.key_id)

    async def record(self, who: Who, *, overtaken: Callable[[], bool] = lambda: False) -> MemberId:
        """Record that this member agrees, after creating the data key. Idempotent.

        Args:
            who: The member.
            overtaken: Whether the member was forgotten or withdrew since they agreed; asked as it is written.

        Raises:
            NoConsent: The consent was overtaken.
        """

        def unit(connection: Connection) -> MemberId:
            if overtaken():
                raise NoConsent
            at, before = self._now(), key_id_of(connection, self._keys.pseudonyms.member(who))
            member_id = agree(connection, self._keys, who, at)
            key_id = key_id_of(connection, member_id)
            if key_id != before:  # the first date stays
                self._decided.note(key_id, at, who.came)
            return member_id

        return await self._writer.submit(unit)


def status_of(connection: Connection, member_id: MemberId) -> MemberStatus | None:
    """Return the member's status; None if unknown."""
    found = connection.execute(select(members.c.standing).where(members.c.member_id == member_id)).scalar()
    return None if found is None else MemberStatus(found)


def consent_of(connection: Connection, member_id: MemberId) -> Consent:
    """Return the member's decision, in the words that other packages use."""
    return _DECISIONS[status_of(connection, member_id)]


def key_id_of(connection: Connection, member_id: MemberId) -> bytes | None:
    """Return the number of the key that this member agreed under; None without consent."""
    agreed = select(members.c.key_id).where(
        members.c.member_id == member_id, members.c.standing == MemberStatus.AGREED
    )
    return connection.execute(agreed).scalar()


def require_agreed(connection: Connection, member_id: MemberId, under: bytes | None = None) -> None:
    """Check that the member agreed. For an act that adds data, :func:`require_given` checks its time as well.

    Args:
        connection: The writing transaction.
        member_id: The member.
        under: Number of the key that the member had when the data were made; a member who was forgotten and
            agreed again has another. None: any consent will do.

    Raises:
        NoConsent: The member did not agree, or agreed anew since the data were made.
    """
    if status_of(connection, member_id) is not MemberStatus.AGREED:
        raise NoConsent
    if under is not None and key_id_of(connection, member_id) != under:
        raise NoConsent


def require_given(connection: Connection, member_id: MemberId, who: Who, decided: DecisionTimes) -> Reactor:
    """Check that the member agrees, and did so when they acted; return the member.

    Args:
        connection: The writing transaction.
        member_id: Pseudonym of the member.
        who: The member, with the time and the consent of their act.
        decided: Decisions of this process.

    Raises:
        NoConsent: The member does not agree, or acted before they agreed.
    """
    require_agreed(connection, member_id, who.under)
    own = connection.execute(select(members).where(members.c.member_id == member_id)).one()
    reactor = Reactor.of(own)
    if who.came is not None and decided.is_before_consent(who.came, reactor):
        raise NoConsent
    return reactor


def put_status(
    connection: Connection, decision: Decision, status: MemberStatus, key_id: bytes | None = None
) -> None:
    """Write a member's status and the number of their data key, for a new or a known member."""
    member_id, person, guild, decided_at = decision
    now = {"standing": status, "decided_at": decided_at, "key_id": key_id}
    known = update(members).where(members.c.member_id == member_id).values(now)
    if not connection.execute(known).rowcount:
        names = {"member_id": member_id, "person": person, "guild": guild}
        connection.execute(insert(members).values(**names, **now))


def agree(connection: Connection, keys: KeyStore, who: Who, at: datetime) -> MemberId:
    """Record the consent, after creating the member's data key. Idempotent: the first date stays.

    A lost key, for example after a restore of an older key store, is replaced. Data sealed under the lost key
    can never be opened again and is deleted.

    Raises:
        StorageError: An earlier deletion of this member's data did not finish.
    """
    member_id = keys.pseudonyms.member(who)
    known = connection.execute(
        select(members.c.standing, members.c.key_id).where(members.c.member_id == member_id)
    ).first()
    standing, sealed_under = known or (None, None)
    if standing in (MemberStatus.FORGETTING, MemberStatus.REFUSING):
        raise StorageError("An earlier deletion of this member's data did not finish; repeat it, then agree.")
    if standing == MemberStatus.REFUSED:
        keys.ledger.cancel_refusal(member_id)
    key_id = keys.make(member_id, keys.pseudonyms.person(who.user_id))
    if standing != MemberStatus.AGREED:
        put_status(connection, decision_of(keys, who, at), MemberStatus.AGREED, key_id)
    elif key_id != sealed_under:
        _delete_sealed(connection, member_id)
        connection.execute(update(members).where(members.c.member_id == member_id).values(key_id=key_id))
    return member_id


def decision_of(keys: KeyStore, who: Who, at: datetime) -> Decision:
    """Return the pseudonyms and the time of a decision."""
    names = keys.pseudonyms
    return Decision(names.member(who), names.person(who.user_id), names.guild(who), at)


def _delete_sealed(connection: Connection, member_id: MemberId) -> None:
    """Delete all data sealed under this member's key, and mark others due who lost feedback by it."""
    own_replies = select(replies.c.reply_id).where(replies.c.member_id == member_id)
    received = select(feedback.c.member_id).where(feedback.c.reply_id.in_(own_replies))
    others = set(connection.execute(received).scalars()) - {member_id}
    connection.execute(delete(feedback).where(feedback.c.member_id == member_id))
    # The foreign key deletes others' feedback on these replies too.
    connection.execute(delete(replies).where(replies.c.member_id == member_id))
    for table in (heads, preferences, remarks, wishes):
        connection.execute(delete(table).where(table.c.member_id == member_id))
    mark_due(connection, others)
