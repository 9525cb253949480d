"""Safety rules of a server, set by its managers: a level, and terms that no reply may contain.

They are about the server, not about a person. They are sealed under the system's key, because blocked terms
reveal much about a server. A level is a plain name here; :mod:`bot.moderation.output_filter` defines its
effect. Reached as ``Store.safety``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from sqlalchemy import Connection, delete, insert, select

from storage.database.backend import Reader
from storage.database.change_numbers import next_number
from storage.database.schema import safety_rules
from storage.database.writer import Writer
from storage.keys.key_store import KeyStore
from storage.keys.sealing import Slot

MOST_TERMS = 200
"""Maximum number of blocked terms of one server."""
LONGEST_TERM = 60
"""Characters."""


@dataclass(frozen=True, slots=True)
class ServerRules:
    """Safety rules of one server.

    Attributes:
        level: Name of the level; None for the host's setting.
        terms: Terms that no reply may contain, in addition to the host's.
    """

    level: str | None = None
    terms: tuple[str, ...] = ()


NOTHING_DECIDED = ServerRules()


class SafetyRules:
    """Reads and changes safety rules. Methods may raise the errors of :class:`storage.store.Store`."""

    def __init__(self, keys: KeyStore, reader: Reader, writer: Writer) -> None:
        self._keys, self._reader, self._writer = keys, reader, writer

    async def of(self, guild: bytes) -> ServerRules:
        """Return the rules of this server."""
        return await self._reader.run(lambda c: _of(c, self._keys, guild))

    async def record(self, guild: bytes, rules: ServerRules) -> None:
        """Replace the rules of a server.

        Raises:
            ValueError: There are too many terms, or a term is blank or too long.
        """
        _require_sizes(rules.terms)
        await self._writer.submit(lambda c: _record(c, self._keys, guild, rules))

    async def record_level(self, guild: bytes, level: str | None) -> None:
        """Set the level of a server, and keep its terms."""
        await self._writer.submit(
            lambda c: _record(c, self._keys, guild, replace(_of(c, self._keys, guild), level=level))
        )

    async def record_terms(self, guild: bytes, terms: tuple[str, ...]) -> None:
        """Set the terms of a server, and keep its level.

        Raises:
            ValueError: There are too many terms, or a term is blank or too long.
        """
        _require_sizes(terms)
        await self._writer.submit(
            lambda c: _record(c, self._keys, guild, replace(_of(c, self._keys, guild), terms=terms))
        )


def _require_sizes(terms: tuple[str, ...]) -> None:
    if len(terms) > MOST_TERMS:
        raise ValueError(f"Expected at most {MOST_TERMS} terms, found {len(terms)}.")
    for term in terms:
        if not 0 < len(term) <= LONGEST_TERM:
            raise ValueError(f"Expected terms of 1 to {LONGEST_TERM} characters, found one of {len(term)}.")


def _slot(guild: bytes, version: int) -> Slot:
    return Slot("safety_rules", "body", guild.hex(), version=version)


def _of(connection: Connection, keys: KeyStore, guild: bytes) -> ServerRules:
    row = connection.execute(select(safety_rules).where(safety_rules.c.guild == guild)).first()
    if row is None:
        return NOTHING_DECIDED
    content = json.loads(keys.system.open(row.body, _slot(guild, row.version)))
    return ServerRules(content["level"], tuple(content["terms"]))


def _record(connection: Connection, keys: KeyStore, guild: bytes, rules: ServerRules) -> None:
    connection.execute(delete(safety_rules).where(safety_rules.c.guild == guild))
    if rules == NOTHING_DECIDED:
        return
    version = next_number(connection)
    content = json.dumps({"level": rules.level, "terms": rules.terms}, ensure_ascii=False).encode()
    body = keys.system.seal(content, _slot(guild, version))
    connection.execute(insert(safety_rules).values(guild=guild, version=version, body=body))
