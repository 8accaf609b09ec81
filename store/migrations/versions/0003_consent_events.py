"""Consents have events and a basis; the facts of an older store are stated anew with this step."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of events, and the columns of a consent's life."""
    op.create_table(
        "consent_events",
        sa.Column("consent", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.String(length=30), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("party", sa.String(length=40), nullable=False),
        sa.Column("basis", sa.String(length=20), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("consent", "version", name=op.f("pk_consent_events")),
    )
    with op.batch_alter_table("consents") as consents:
        consents.alter_column("granted", existing_type=sa.Float(), nullable=True)
        for name, width, said in (
            ("basis", 20, "operator"), ("text_version", 60, ""), ("channel", 40, ""),
        ):  # fmt: skip
            column = sa.Column(name, sa.String(length=width), nullable=False, server_default=said)
            consents.add_column(column)
        consents.add_column(sa.Column("requested", sa.Float(), nullable=True))
        consents.add_column(sa.Column("answer_by", sa.Float(), nullable=True))
    with op.batch_alter_table("consents") as consents:
        for name, width in (("basis", 20), ("text_version", 60), ("channel", 40)):
            consents.alter_column(
                name, existing_type=sa.String(length=width), server_default=None, nullable=False
            )
