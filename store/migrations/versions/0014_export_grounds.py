"""What each meter of an export rested on stays, so that the log can be asked for it."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; exports of before it are in none."""
    op.create_table(
        "export_grounds",
        sa.Column("export", sa.String(length=40), nullable=False),
        sa.Column("first", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("page", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("export", "first", name=op.f("pk_export_grounds")),
    )
