"""Roll-backs: which heads gave way to the prior, and how many of a round."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("heads", sa.Column("rolled_back", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("rounds", sa.Column("n_rolled_back", sa.Integer(), nullable=False, server_default="0"))
