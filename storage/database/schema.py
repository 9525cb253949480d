"""The tables of ``data.db``, as SQLAlchemy Core objects with constraints.

No Discord id, text or label is stored in clear. Members, servers, channels and messages are pseudonyms (16
bytes, :mod:`storage.keys.pseudonyms`). Every ``LargeBinary`` column without a fixed length is sealed
(:mod:`storage.keys.sealing`). :mod:`storage.privacy.personal_data` lists the purpose and the deletion of each
column. Migrations create the tables; a conformance test compares them with this module.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    TypeDecorator,
    false,
)

from storage.records.identifiers import PSEUDONYM_BYTES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(TypeDecorator[datetime]):
    """Column type for an aware UTC time, stored as whole microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Convert an aware time to microseconds."""
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Convert microseconds to an aware time."""
        return None if value is None else utc_time(value)


def utc_time(microseconds: int) -> datetime:
    """Return the aware time that a column of :class:`UtcTime` stores as microseconds since 1970."""
    return EPOCH + timedelta(microseconds=microseconds)


class MemberStatus(StrEnum):
    """Status of a member's consent. Only data of members who agreed is read or written."""

    AGREED = "agreed"
    REFUSED = "refused"
    FORGETTING = "forgetting"
    """An erasure is in progress; its last step deletes the row. The next start finishes it if interrupted."""
    REFUSING = "refusing"
    """A withdrawal is in progress; its last step leaves only the refusal."""


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _pseudonym(name: str, *, primary_key: bool = False, index: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary(PSEUDONYM_BYTES), primary_key=primary_key, index=index, nullable=False)


def _size(*names: str) -> CheckConstraint:
    return CheckConstraint(" AND ".join(f"length({name}) = {PSEUDONYM_BYTES}" for name in names), name="size")


def _single() -> CheckConstraint:
    return CheckConstraint("id = 1", name="single")


def _member(*, primary_key: bool = False, index: bool = False) -> Column[bytes]:
    owner = ForeignKey("members.member_id", ondelete="CASCADE")
    return Column(
        "member_id",
        LargeBinary(PSEUDONYM_BYTES),
        owner,
        primary_key=primary_key,
        index=index,
        nullable=False,
    )


def _reply(*, primary_key: bool = False) -> Column[int]:
    owner = ForeignKey("replies.reply_id", ondelete="CASCADE")
    return Column("reply_id", BigInteger, owner, primary_key=primary_key, index=True, nullable=False)


members = Table(
    "members",
    metadata,
    _pseudonym("member_id", primary_key=True),
    _pseudonym("person", index=True),
    _pseudonym("guild", index=True),
    Column("standing", String, nullable=False),
    Column("decided_at", UtcTime, nullable=False),
    Column("changed_seq", BigInteger, unique=True),
    Column("key_id", LargeBinary(PSEUDONYM_BYTES)),
    Column("paused", Boolean, nullable=False, server_default=false()),
    Column("resumed_at", UtcTime),
    _size("member_id", "person", "guild"),
    CheckConstraint("standing IN ('agreed', 'refused', 'forgetting', 'refusing')", name="standing"),
)

replies = Table(
    "replies",
    metadata,
    Column("reply_id", BigInteger, primary_key=True, autoincrement=False),
    _member(index=True),
    _pseudonym("channel"),
    Column("created_at", UtcTime, nullable=False),
    Column("feature_id", String, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("decision", LargeBinary, nullable=False),
    Column("texts", LargeBinary),
    _size("channel"),
)
_kept = replies.c.texts.is_not(None)
Index("ix_replies_expiring", replies.c.created_at, sqlite_where=_kept, postgresql_where=_kept)

messages = Table(
    "messages",
    metadata,
    _pseudonym("message", primary_key=True),
    _reply(),
    Column("position", Integer, nullable=False),
    Column("place", LargeBinary, nullable=False),
    _size("message"),
    CheckConstraint("position >= 0", name="position"),
)

feedback = Table(
    "feedback",
    metadata,
    _member(primary_key=True),
    _reply(primary_key=True),
    Column("changed_seq", BigInteger, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("state", LargeBinary, nullable=False),
)


def _candidates_of(name: str) -> Column[int | None]:
    return Column(name, BigInteger, ForeignKey("replies.reply_id", ondelete="CASCADE"), index=True)


preferences = Table(
    "preferences",
    metadata,
    Column("preference_id", BigInteger, primary_key=True, autoincrement=False),
    _member(index=True),
    _candidates_of("first_reply"),
    _candidates_of("second_reply"),
    Column("told_at", UtcTime, nullable=False),
    Column("feature_id", String, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("choice", LargeBinary, nullable=False),
)

remarks = Table(
    "remarks",
    metadata,
    _member(primary_key=True),
    _reply(primary_key=True),
    Column("changed_seq", BigInteger, nullable=False),
    Column("told_at", UtcTime, nullable=False),
    Column("reasons", LargeBinary, nullable=False),
    Column("words", LargeBinary),
)

rounds = Table(
    "rounds",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("started_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime, nullable=False),
    Column("cursor", BigInteger, nullable=False),
    Column("n_members", Integer, nullable=False),
    Column("n_labels", Integer, nullable=False),
    Column("device", String, nullable=False),
    Column("n_rolled_back", Integer, nullable=False, server_default="0"),
    Column("fence", BigInteger, nullable=False, server_default="0"),
)

heads = Table(
    "heads",
    metadata,
    _member(primary_key=True),
    Column("version", Integer, ForeignKey("rounds.version"), nullable=False),
    Column("n_labels", Integer, nullable=False),
    Column("trained_at", UtcTime, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("rolled_back", Boolean, nullable=False, server_default=false()),
    CheckConstraint("n_labels >= 0", name="n_labels"),
)

wishes = Table(
    "wishes",
    metadata,
    _member(primary_key=True),
    Column("changed_at", UtcTime, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

prior = Table(
    "prior",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("n_members", Integer, nullable=False),
    Column("trained_at", UtcTime, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _single(),
)

departures = Table(
    "departures",
    metadata,
    _pseudonym("guild", primary_key=True),
    Column("left_at", UtcTime, nullable=False),
    _size("guild"),
)

seen_servers = Table(
    "seen_servers",
    metadata,
    _pseudonym("guild", primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("shards", Integer, nullable=False),
    Column("seen", BigInteger, nullable=False),
    _size("guild"),
)

shard_lists = Table(
    "shard_lists",
    metadata,
    Column("shards", Integer, primary_key=True, autoincrement=False),
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("session", String, nullable=False),
    Column("latest", BigInteger, nullable=False),
    Column("earlier", BigInteger, nullable=False),
)

guild_settings = Table(
    "guild_settings",
    metadata,
    _pseudonym("guild", primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("emoji", LargeBinary, nullable=False),
    _size("guild"),
)

notes = Table(
    "notes",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

origin = Table(
    "origin",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    _pseudonym("key_check"),
    Column("last_number", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    _size("key_check"),
    _single(),
)

faq = Table(
    "faq",
    metadata,
    Column("entry_id", BigInteger, primary_key=True, autoincrement=False),
    _pseudonym("guild", index=True),
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _size("guild"),
)

safety_rules = Table(
    "safety_rules",
    metadata,
    _pseudonym("guild", primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _size("guild"),
)

reports = Table(
    "reports",
    metadata,
    Column(
        "reply_id",
        BigInteger,
        ForeignKey("replies.reply_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("reported_at", UtcTime, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("reasons", LargeBinary, nullable=False),
)

SERVER_TABLES = (faq, safety_rules, guild_settings)
"""Tables of data that belongs to a server and to no member; deleted a week after the bot left."""
