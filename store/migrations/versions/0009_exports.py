"""Exports: what was ordered, what was allowed, the parts; pins of those who read dead files."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of exports, and the pins."""
    op.create_table(
        "exports",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("party", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("recipient", sa.String(length=80), nullable=False),
        sa.Column("commit", sa.BigInteger(), nullable=True),
        sa.Column("meters", sa.BigInteger(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=True),
        sa.Column("ended", sa.LargeBinary(), nullable=True),
        sa.Column("failed", sa.String(length=40), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("lease", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    op.create_index(op.f("ix_exports_party"), "exports", ["party"])
    op.create_table(
        "export_asked",
        sa.Column("export", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("handle", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("export", "number", name=op.f("pk_export_asked")),
    )
    op.create_index(op.f("ix_export_asked_export_tag"), "export_asked", ["export", "tag"])
    op.create_table(
        "export_meters",
        sa.Column("export", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("registers", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "export", "subject", "registers", "start", name=op.f("pk_export_meters")
        ),
    )
    op.create_table(
        "export_parts",
        sa.Column("export", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("slice", sa.Integer(), nullable=False),
        sa.Column("low", sa.LargeBinary(), nullable=False),
        sa.Column("high", sa.LargeBinary(), nullable=False),
        sa.Column("register", sa.SmallInteger(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("published", sa.Float(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sa.Column("present", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("plain", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("export", "number", name=op.f("pk_export_parts")),
    )
    op.create_index(op.f("ix_export_parts_export_slice"), "export_parts", ["export", "slice"])
    op.create_table(
        "pins",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("taken", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pins")),
    )
