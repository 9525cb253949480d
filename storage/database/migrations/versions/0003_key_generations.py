"""Which key a member's data are sealed under, and which servers the bot left."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("members", sa.Column("key_id", sa.LargeBinary(16), nullable=True))
    op.create_table(
        "departures",
        sa.Column("guild", sa.LargeBinary(16), nullable=False),
        sa.Column("left_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("length(guild) = 16", name=op.f("ck_departures_size")),
        sa.PrimaryKeyConstraint("guild", name="pk_departures"),
    )
