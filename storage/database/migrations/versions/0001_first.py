"""First schema: members, replies, feedback, heads, rounds, prior."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "members",
        sa.Column("member_id", sa.LargeBinary(16), nullable=False),
        sa.Column("person", sa.LargeBinary(16), nullable=False),
        sa.Column("guild", sa.LargeBinary(16), nullable=False),
        sa.Column("standing", sa.String(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_seq", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "length(member_id) = 16 AND length(person) = 16 AND length(guild) = 16",
            name=op.f("ck_members_size"),
        ),
        sa.CheckConstraint(
            "standing IN ('agreed', 'refused', 'forgetting', 'refusing')", name=op.f("ck_members_standing")
        ),
        sa.PrimaryKeyConstraint("member_id", name="pk_members"),
        sa.UniqueConstraint("changed_seq", name="uq_members_changed_seq"),
    )
    op.create_index("ix_members_guild", "members", ["guild"])
    op.create_index("ix_members_person", "members", ["person"])
    op.create_table(
        "replies",
        sa.Column("reply_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("member_id", sa.LargeBinary(16), nullable=False),
        sa.Column("channel", sa.LargeBinary(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("feature_id", sa.String(), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("decision", sa.LargeBinary(), nullable=False),
        sa.Column("texts", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("length(channel) = 16", name=op.f("ck_replies_size")),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name="fk_replies_member_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("reply_id", name="pk_replies"),
    )
    op.create_index(
        "ix_replies_expiring", "replies", ["created_at"], sqlite_where=sa.text("texts IS NOT NULL")
    )
    op.create_index("ix_replies_member_id", "replies", ["member_id"])
    op.create_table(
        "messages",
        sa.Column("message", sa.LargeBinary(16), nullable=False),
        sa.Column("reply_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("place", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("length(message) = 16", name=op.f("ck_messages_size")),
        sa.CheckConstraint("position >= 0", name=op.f("ck_messages_position")),
        sa.ForeignKeyConstraint(
            ["reply_id"], ["replies.reply_id"], name="fk_messages_reply_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message", name="pk_messages"),
    )
    op.create_index("ix_messages_reply_id", "messages", ["reply_id"])
    op.create_table(
        "feedback",
        sa.Column("member_id", sa.LargeBinary(16), nullable=False),
        sa.Column("reply_id", sa.BigInteger(), nullable=False),
        sa.Column("changed_seq", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name="fk_feedback_member_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["reply_id"], ["replies.reply_id"], name="fk_feedback_reply_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("member_id", "reply_id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_reply_id", "feedback", ["reply_id"])
    op.create_table(
        "rounds",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("cursor", sa.BigInteger(), nullable=False),
        sa.Column("n_members", sa.Integer(), nullable=False),
        sa.Column("n_labels", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_rounds"),
    )
    op.create_table(
        "heads",
        sa.Column("member_id", sa.LargeBinary(16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("n_labels", sa.Integer(), nullable=False),
        sa.Column("trained_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("n_labels >= 0", name=op.f("ck_heads_n_labels")),
        sa.ForeignKeyConstraint(
            ["member_id"], ["members.member_id"], name="fk_heads_member_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["version"], ["rounds.version"], name="fk_heads_version"),
        sa.PrimaryKeyConstraint("member_id", name="pk_heads"),
    )
    op.create_table(
        "prior",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n_members", sa.Integer(), nullable=False),
        sa.Column("trained_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_prior_single")),
        sa.PrimaryKeyConstraint("id", name="pk_prior"),
    )
    op.create_table(
        "notes",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_notes"),
    )
    op.create_table(
        "origin",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_check", sa.LargeBinary(16), nullable=False),
        sa.Column("last_number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("length(key_check) = 16", name=op.f("ck_origin_size")),
        sa.CheckConstraint("id = 1", name=op.f("ck_origin_single")),
        sa.PrimaryKeyConstraint("id", name="pk_origin"),
    )
