"""What those who manage a server set for it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "guild_settings",
        sa.Column("guild", sa.LargeBinary(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("emoji", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(guild) = 16", name=op.f("ck_guild_settings_size")),
        sa.PrimaryKeyConstraint("guild", name="pk_guild_settings"),
    )
