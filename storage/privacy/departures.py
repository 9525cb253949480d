"""Servers that the bot left: their data go a week later, unless it is invited again.

A week, because a removal may be a mistake, and an outage of Discord must never delete anything: only a
removal that Discord confirms, or a server that is missing from the complete list of a new session, counts.
Direct messages are in no such list and stay. A no stays as well.
"""

from __future__ import annotations

import json
from collections.abc import Set
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select, update

from storage.database.notes import note_of, put_note
from storage.database.schema import SERVER_TABLES, Standing, departures, members
from storage.keys.key_store import KeyStore
from storage.privacy.erasing import Parting

GRACE = timedelta(days=7)
SERVERS_NOTE = "servers"
"""Pseudonyms of the servers that the bot was in when it last looked."""


def depart(connection: Connection, guild: bytes, at: datetime) -> None:
    """Note that a server was left; the first time counts. Nothing when nothing is kept of it."""
    known = select(departures.c.guild).where(departures.c.guild == guild)
    if connection.execute(known).first() is not None:
        return
    if any(
        connection.execute(select(table.c.guild).where(table.c.guild == guild).limit(1)).first() is not None
        for table in (members, *SERVER_TABLES)
    ):
        connection.execute(insert(departures).values(guild=guild, left_at=at))


def come_back(connection: Connection, guild: bytes) -> None:
    """The bot is in this server."""
    connection.execute(delete(departures).where(departures.c.guild == guild))


def see_servers(connection: Connection, present: Set[bytes], at: datetime) -> None:
    """Compare with the servers of the last look: who is missing was left, who is there came back."""
    seen = {bytes.fromhex(guild) for guild in json.loads(note_of(connection, SERVERS_NOTE) or "[]")}
    for guild in sorted(seen - present):
        depart(connection, guild, at)
    for guild in connection.execute(select(departures.c.guild)).scalars().all():
        if guild in present:
            come_back(connection, guild)
    if seen != present:
        put_note(connection, SERVERS_NOTE, json.dumps(sorted(guild.hex() for guild in present)))


def departed(connection: Connection, before: datetime) -> list[bytes]:
    """The servers that were left before this time."""
    left = select(departures.c.guild).where(departures.c.left_at <= before)
    return list(connection.execute(left).scalars())


def departing(keys: KeyStore, before: datetime) -> Parting:
    """Everybody leaves in the servers that were left before this time, and what is the server's own goes.

    What was a no stays one.
    """

    def here(connection: Connection) -> ColumnElement[bool]:
        return and_(members.c.guild.in_(departed(connection, before)), members.c.standing != Standing.REFUSED)

    def note(connection: Connection) -> list[bytes]:
        sealed_under = select(members.c.key_id).where(here(connection), members.c.key_id.is_not(None))
        key_ids = sorted(connection.execute(sealed_under).scalars())
        keys.ledger.record(key_ids)
        return key_ids

    def mark(connection: Connection) -> None:
        agreed = and_(here(connection), members.c.standing == Standing.AGREED)
        connection.execute(update(members).where(agreed).values(standing=Standing.FORGETTING))
        left = departed(connection, before)
        for table in SERVER_TABLES:
            connection.execute(delete(table).where(table.c.guild.in_(left)))
        connection.execute(delete(departures).where(departures.c.left_at <= before))

    return Parting(note, mark)
