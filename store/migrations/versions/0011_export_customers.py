"""Whose reads an export held stays when the export goes: a customer is told of it."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; exports of before it are in none."""
    op.create_table(
        "export_customers",
        sa.Column("export", sa.String(length=40), nullable=False),
        sa.Column("first", sa.LargeBinary(), nullable=False),
        sa.Column("page", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("export", "first", name=op.f("pk_export_customers")),
    )
