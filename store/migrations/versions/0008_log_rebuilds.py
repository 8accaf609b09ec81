"""How far the search index was made anew, so that one that died goes on there."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; it is empty but while a rebuild is under way."""
    op.create_table(
        "log_rebuilds",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_log_rebuilds")),
    )
