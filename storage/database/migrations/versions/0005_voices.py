"""What members say beyond reactions, and what a server sets for itself."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    _preferences()
    _wishes()
    _guild_settings()
    _knowledge()


def _preferences() -> None:
    # Choices between two replies, private words about replies, and a pause of learning.
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


def _wishes() -> None:
    # What members wish replies to sound like.
    op.create_table(
        "wishes",
        sa.Column("member_id", sa.LargeBinary(16), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name="fk_wishes_member_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("member_id", name="pk_wishes"),
    )


def _guild_settings() -> None:
    # What those who manage a server set for it.
    op.create_table(
        "guild_settings",
        sa.Column("guild", sa.LargeBinary(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("emoji", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(guild) = 16", name=op.f("ck_guild_settings_size")),
        sa.PrimaryKeyConstraint("guild", name="pk_guild_settings"),
    )


def _knowledge() -> None:
    # Questions with answers, rules of safety, and reported replies.
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


def _owner(table: str, column: str, of: str, key: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{of}.{key}"], name=f"fk_{table}_{column}", ondelete="CASCADE")
