"""The servers of each shard, as Discord lists them at the beginning of a session."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_NOTE = "servers"


def upgrade() -> None:
    seen = op.create_table(
        "seen_servers",
        sa.Column("guild", sa.LargeBinary(16), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("shards", sa.Integer(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("length(guild) = 16", name=op.f("ck_seen_servers_size")),
        sa.PrimaryKeyConstraint("guild", name="pk_seen_servers"),
    )
    op.create_table(
        "shard_lists",
        sa.Column("shards", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("session", sa.String(), nullable=False),
        sa.Column("latest", sa.BigInteger(), nullable=False),
        sa.Column("earlier", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shards", "shard", name="pk_shard_lists"),
    )
    _keep_the_last_list(seen)


def _keep_the_last_list(seen: sa.Table) -> None:
    # The note of earlier versions holds pseudonyms only, so the owner of each server is not known: 0 shards.
    notes = sa.table("notes", sa.column("key", sa.String()), sa.column("value", sa.String()))
    found = op.get_bind().execute(sa.select(notes.c.value).where(notes.c.key == _NOTE)).scalar()
    servers = sorted(set(json.loads(found or "[]")))
    if servers:
        rows = [{"guild": bytes.fromhex(one), "shard": 0, "shards": 0, "seen": 0} for one in servers]
        op.bulk_insert(seen, rows)
    op.execute(sa.delete(notes).where(notes.c.key == _NOTE))
