"""What a server's managers hand over (questions with answers, rules of safety), and reported replies."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "faq",
        sa.Column("entry_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("guild", sa.LargeBinary(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(guild) = 16", name=op.f("ck_faq_size")),
        sa.PrimaryKeyConstraint("entry_id", name="pk_faq"),
    )
    op.create_index("ix_faq_guild", "faq", ["guild"])
    op.create_table(
        "safety_rules",
        sa.Column("guild", sa.LargeBinary(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(guild) = 16", name=op.f("ck_safety_rules_size")),
        sa.PrimaryKeyConstraint("guild", name="pk_safety_rules"),
    )
    op.create_table(
        "reports",
        sa.Column("reply_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reported_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("reasons", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reply_id"], ["replies.reply_id"], name="fk_reports_reply_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("reply_id", name="pk_reports"),
    )
