"""Which trainer stored a round, so that one who was replaced cannot; and a smaller index on PostgreSQL."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("origin", sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("rounds", sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "postgresql":  # the first schema limited it on SQLite only
        op.drop_index("ix_replies_expiring", "replies")
        op.create_index(
            "ix_replies_expiring", "replies", ["created_at"], postgresql_where=sa.text("texts IS NOT NULL")
        )
