"""Choices between two replies, a private word about a reply, and a pause of learning."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("members", sa.Column("paused", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("members", sa.Column("resumed_at", sa.BigInteger(), nullable=True))
    op.create_table(
        "preferences",
        sa.Column("preference_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("member_id", sa.LargeBinary(16), nullable=False),
        sa.Column("first_reply", sa.BigInteger(), nullable=True),
        sa.Column("second_reply", sa.BigInteger(), nullable=True),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("feature_id", sa.String(), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("choice", sa.LargeBinary(), nullable=False),
        _owner("preferences", "member_id", "members", "member_id"),
        _owner("preferences", "first_reply", "replies", "reply_id"),
        _owner("preferences", "second_reply", "replies", "reply_id"),
        sa.PrimaryKeyConstraint("preference_id", name="pk_preferences"),
    )
    for column in ("member_id", "first_reply", "second_reply"):
        op.create_index(f"ix_preferences_{column}", "preferences", [column])
    op.create_table(
        "remarks",
        sa.Column("member_id", sa.LargeBinary(16), nullable=False),
        sa.Column("reply_id", sa.BigInteger(), nullable=False),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.Column("told_at", sa.BigInteger(), nullable=False),
        sa.Column("reasons", sa.LargeBinary(), nullable=False),
        sa.Column("words", sa.LargeBinary(), nullable=True),
        _owner("remarks", "member_id", "members", "member_id"),
        _owner("remarks", "reply_id", "replies", "reply_id"),
        sa.PrimaryKeyConstraint("member_id", "reply_id", name="pk_remarks"),
    )
    op.create_index("ix_remarks_reply_id", "remarks", ["reply_id"])


def _owner(table: str, column: str, of: str, key: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{of}.{key}"], name=f"fk_{table}_{column}", ondelete="CASCADE")
