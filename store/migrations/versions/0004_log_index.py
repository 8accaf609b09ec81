"""What an auditor searches: a row for each leaf of the tree, with its customers and consents."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; they are filled from the tree (`meterkeep log index`)."""
    op.create_table(
        "log_entries",
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("party", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=60), nullable=False),
        sa.Column("decision", sa.String(length=60), nullable=False),
        sa.Column("person", sa.String(length=200), nullable=True),
        sa.Column("half_hours", sa.BigInteger(), nullable=True),
        sa.Column("follows", sa.LargeBinary(), nullable=True),
        sa.Column("aborted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_log_entries")),
    )
    for name in ("party", "decision", "kind"):
        op.create_index(op.f(f"ix_log_entries_{name}_place"), "log_entries", [name, "place"])
    for name, columns in (("person", ["person", "place"]), ("follows", ["follows"])):
        there = sa.column(name).is_not(None)
        op.create_index(
            f"ix_log_entries_{name}", "log_entries", columns,
            sqlite_where=there, postgresql_where=there,
        )  # fmt: skip
    op.create_table(
        "log_subjects",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("subject", "place", name=op.f("pk_log_subjects")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_consents",
        sa.Column("consent", sa.String(length=40), nullable=False),
        sa.Column("place", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("purpose", sa.String(length=60), nullable=False),
        sa.PrimaryKeyConstraint("consent", "place", name=op.f("pk_log_consents")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_log_consents_purpose_place"), "log_consents", ["purpose", "place"])
    for table in ("log_subjects", "log_consents"):
        op.create_index(op.f(f"ix_{table}_place"), table, ["place"])
    op.create_table(
        "log_hours",
        sa.Column("hour", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("low", sa.BigInteger(), nullable=False),
        sa.Column("high", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", name=op.f("pk_log_hours")),
    )
