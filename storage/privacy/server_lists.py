"""Server lists: what Discord says at the beginning of each session about the servers of a shard.

A server that is missing was perhaps left. Absence counts only in the lists of the shards that own the server,
in two sessions since it was last seen. It counts only while every shard of the bot is ready, and while all
processes use the same number of shards. Lists are compared by running numbers, so no clock is involved.

After the number of shards changed, the shard that owns a server is not known: only pseudonyms are stored.
The server then counts as left once it is missing in two lists of every shard.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from storage.database.schema import seen_servers, shard_lists
from storage.records import Shard

Present = dict[bytes, Shard]
"""Pseudonym of each server in a list -> the shard that owns it."""

_AT_ONCE = 500
"""Rows of one statement."""


def record_seen(connection: Connection, present: Present, number: int | None = None) -> None:
    """Record that the bot is in these servers.

    Args:
        connection: The writer's.
        present: The servers.
        number: Number of the list that names them; None: Discord named them since the newest list.
    """
    if number is None:
        number = newest_number(connection)
    rows = [
        {"guild": guild, "shard": owner.id, "shards": owner.count, "seen": number}
        for guild, owner in sorted(present.items())
    ]
    forget_seen(connection, present)
    if rows:
        connection.execute(insert(seen_servers), rows)


def forget_seen(connection: Connection, guilds: Iterable[bytes]) -> None:
    """Delete what is recorded about these servers."""
    known = sorted(guilds)
    for start in range(0, len(known), _AT_ONCE):
        part = known[start : start + _AT_ONCE]
        connection.execute(delete(seen_servers).where(seen_servers.c.guild.in_(part)))


def record_list(connection: Connection, shard: Shard, session: str, present: Present) -> None:
    """Record a complete list of a shard. A further list of the same session is the same observation."""
    number = newest_number(connection) + 1
    name = sha256(session.encode()).hexdigest()[:32]
    this = and_(shard_lists.c.shards == shard.count, shard_lists.c.shard == shard.id)
    known = connection.execute(select(shard_lists.c.session).where(this)).scalar()
    if known is None:
        row = {"shards": shard.count, "shard": shard.id, "session": name, "latest": number, "earlier": 0}
        connection.execute(insert(shard_lists).values(row))
    elif known == name:
        connection.execute(update(shard_lists).where(this).values(latest=number))
    else:
        connection.execute(
            update(shard_lists).where(this).values(session=name, latest=number, earlier=shard_lists.c.latest)
        )
    record_seen(connection, present, number)


def newest_number(connection: Connection) -> int:
    """Return the number of the newest list; 0 without one."""
    return connection.execute(select(func.max(shard_lists.c.latest))).scalar() or 0


def may_be_missing(connection: Connection, shard: Shard, present: Present) -> bool:
    """Return whether a list lacks a server that its shard may own."""
    of_shard = and_(seen_servers.c.shards == shard.count, seen_servers.c.shard == shard.id)
    owned = or_(of_shard, seen_servers.c.shards != shard.count)
    return not set(connection.execute(select(seen_servers.c.guild).where(owned)).scalars()) <= present.keys()


def missing_servers(connection: Connection, count: int) -> list[bytes]:
    """Return the servers that are missing in two sessions of every shard that may own them.

    Args:
        connection: The writer's.
        count: Number of shards of the bot. All of them must be ready.
    """
    found = select(seen_servers.c.guild).where(or_(_missing_in_owner(count), _missing_in_all(count)))
    return sorted(connection.execute(found).scalars())


def _missing_in_owner(count: int) -> ColumnElement[bool]:
    owner = and_(shard_lists.c.shards == count, shard_lists.c.shard == seen_servers.c.shard)
    later = select(shard_lists.c.shard).where(owner, shard_lists.c.earlier > seen_servers.c.seen)
    return and_(seen_servers.c.shards == count, later.correlate(seen_servers).exists())


def _missing_in_all(count: int) -> ColumnElement[bool]:
    later = select(func.count()).where(
        shard_lists.c.shards == count, shard_lists.c.earlier > seen_servers.c.seen
    )
    return and_(seen_servers.c.shards != count, later.correlate(seen_servers).scalar_subquery() == count)
