"""``python -m tests.benchmarks.bench_partitions``: what partitions of replies and labels bring.

The same rows come in three layouts on PostgreSQL: plain tables as released, partitions by time (ranges of the
reply's number, which is a time), and partitions by a hash of the member, who belongs to one server. Each
statement is one of the hot ones, for drawn members. Texts and features are short, so that many rows fit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import numpy as np

from tests.rig.postgres import PostgresServer, running

PARTS = 16
A_MEMBER = 50
"""Replies of a member."""
COLUMNS = """reply_id bigint NOT NULL, member_id bytea NOT NULL, channel bytea NOT NULL,
    created_at timestamptz NOT NULL, features bytea NOT NULL, decision bytea NOT NULL, texts bytea"""
LABELS = """member_id bytea NOT NULL, reply_id bigint NOT NULL, changed_seq bigint NOT NULL,
    state bytea NOT NULL"""
LAYOUTS = {
    "plain": ("", ""),
    "time": ("PARTITION BY RANGE (reply_id)", "PARTITION BY RANGE (reply_id)"),
    "hash": ("PARTITION BY HASH (member_id)", "PARTITION BY HASH (member_id)"),
}
KEYS = {"plain": "reply_id", "time": "reply_id", "hash": "reply_id, member_id"}
MEMBER = "substring(decode(md5('m' || ({})::text), 'hex') FOR 16)"


async def build(connection: Any, layout: str, n: int) -> None:
    """Create the tables of a layout with ``n`` replies and as many labels, in the order of their time."""
    for table, columns, how in zip(("replies", "feedback"), (COLUMNS, LABELS), LAYOUTS[layout], strict=True):
        await connection.execute(f"CREATE TABLE {table} ({columns}) {how}")
        for part in range(PARTS if how else 0):
            bounds = f"FROM ({part * n // PARTS}) TO ({(part + 1) * n // PARTS})"
            if part == PARTS - 1:
                bounds = f"FROM ({part * n // PARTS}) TO (MAXVALUE)"
            if layout == "hash":
                bounds = f"WITH (MODULUS {PARTS}, REMAINDER {part})"
            await connection.execute(f"CREATE TABLE {table}_{part} PARTITION OF {table} FOR VALUES {bounds}")
    who = MEMBER.format(f"(i::bigint * 7919) % {n // A_MEMBER}")
    year = f"timestamptz '2026-01-01' + interval '1 year' * i / {n}"
    await connection.execute(
        f"INSERT INTO replies SELECT i, {who}, decode(md5(i::text), 'hex'), {year}, repeat('f', 120)::bytea,"
        f" repeat('d', 60)::bytea, CASE WHEN i > {n * 335 // 365} THEN repeat('t', 60)::bytea END"
        f" FROM generate_series(0, {n - 1}) AS i"
    )
    await connection.execute(
        f"INSERT INTO feedback SELECT {who}, i, i, repeat('s', 60)::bytea"
        f" FROM generate_series(0, {n - 1}) AS i"
    )
    for index in (
        f"ALTER TABLE replies ADD PRIMARY KEY ({KEYS[layout]})",
        "CREATE INDEX ON replies (member_id)",
        "CREATE INDEX ON replies (created_at) WHERE texts IS NOT NULL",
        "ALTER TABLE feedback ADD PRIMARY KEY (member_id, reply_id)",
        "CREATE INDEX ON feedback (reply_id)",
        "ANALYZE",
    ):
        await connection.execute(index)


STATEMENTS: dict[str, tuple[str, Callable[[random.Random, int, list[bytes]], tuple[Any, ...]]]] = {
    "a reply by its number": (
        "SELECT member_id, decision FROM replies WHERE reply_id = $1",
        lambda rng, n, _: (rng.randrange(n),),
    ),
    "the latest reply of a member": (
        "SELECT reply_id FROM replies WHERE member_id = $1 ORDER BY reply_id DESC LIMIT 1",
        lambda rng, _, who: (rng.choice(who),),
    ),
    "the label of a member on a reply": (
        "SELECT state FROM feedback WHERE member_id = $1 AND reply_id = $2",
        lambda rng, n, who: (rng.choice(who), rng.randrange(n)),
    ),
    "labels and features of 100 members": (
        "SELECT feedback.state, replies.features FROM feedback JOIN replies USING (reply_id, member_id)"
        " WHERE feedback.member_id = ANY($1)",
        lambda rng, _, who: (rng.sample(who, 100),),
    ),
    "texts that expire (200)": (
        "SELECT reply_id FROM replies WHERE texts IS NOT NULL ORDER BY created_at LIMIT 200",
        lambda *_: (),
    ),
    "all of a member (forget)": (
        "WITH labels AS (DELETE FROM feedback WHERE member_id = $1 RETURNING 1)"
        " DELETE FROM replies WHERE member_id = $1",
        lambda rng, _, who: (rng.choice(who),),
    ),
    "a new reply": (
        "INSERT INTO replies VALUES ($1, $2, $2, '2026-12-31', repeat('f', 120)::bytea,"
        " repeat('d', 60)::bytea)",
        lambda rng, n, who: (rng.randrange(n, 2**60), rng.choice(who)),
    ),
}


async def measured(connection: Any, n: int, times: int, turn: int) -> dict[str, list[float]]:
    """Return the milliseconds of each statement; what writes is rolled back."""
    rng, found = random.Random(turn), {}
    members = rng.sample(range(n // A_MEMBER), min(2000, n // A_MEMBER))
    who = await connection.fetchval(
        f"SELECT array_agg({MEMBER.format('one')}) FROM unnest($1::bigint[]) AS one", members
    )
    for name, (statement, draw) in STATEMENTS.items():
        prepared, took = await connection.prepare(statement), []
        for _ in range(times // 10 if "100 members" in name else times):
            values = draw(rng, n, who)
            transaction = connection.transaction()
            await transaction.start()
            before = time.perf_counter()
            await prepared.fetch(*values)
            took.append(1000 * (time.perf_counter() - before))
            await transaction.rollback()
        found[name] = took
    return found


async def compare(
    server: PostgresServer, n: int, times: int, turns: int
) -> dict[str, dict[str, list[float]]]:
    """Return the milliseconds of each statement in each layout."""
    layouts: dict[str, asyncpg.Connection[Any]] = {}
    for layout in LAYOUTS:
        began = time.monotonic()
        layouts[layout] = await server.connect(await server.fresh(migrated=False))
        await layouts[layout].execute("SET jit = off")
        await build(layouts[layout], layout, n)
        size = await layouts[layout].fetchval("SELECT pg_database_size(current_database())")
        print(f"{layout}: {size / 2**20:.0f} MiB, built in {time.monotonic() - began:.0f} s", flush=True)
    found: dict[str, dict[str, list[float]]] = {layout: {} for layout in layouts}
    for turn in range(turns + 1):  # in turns, so that other work on the machine hits all alike
        for layout, connection in layouts.items():
            for name, took in (await measured(connection, n, times, turn)).items():
                if turn:  # the first one warms up
                    found[layout].setdefault(name, []).extend(took)
    for connection in layouts.values():
        await connection.close()
    return found


async def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replies", type=int, default=5_000_000)
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    with running() as server:
        found = await compare(server, options.replies, options.times, options.turns)
    print(f"{options.replies:,} replies and labels; load {os.getloadavg()[0]:.1f}")
    print(f"| median / 95th percentile, ms | {' | '.join(LAYOUTS)} |\n|{(1 + len(LAYOUTS)) * '---|'}")
    for name in STATEMENTS:
        cells = [np.percentile(found[layout][name], (50, 95)) for layout in LAYOUTS]
        print(f"| {name} | " + " | ".join(f"{p50:.2f} / {p95:.2f}" for p50, p95 in cells) + " |")


if __name__ == "__main__":
    asyncio.run(main())
