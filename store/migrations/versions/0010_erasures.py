"""Erasures are remembered until they hold in every backup too."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of erasures."""
    op.create_table(
        "erasures",
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("kek", sa.Integer(), nullable=False),
        sa.Column("everywhere", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_erasures")),
    )
    op.create_index(op.f("ix_erasures_everywhere_at"), "erasures", ["everywhere", "at"])
