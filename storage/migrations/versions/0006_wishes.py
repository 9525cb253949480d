"""What members wish replies to sound like: presets and words of their own, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
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
