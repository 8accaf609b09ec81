"""What counts once lies by the time until which it counts: one tree in place of three."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew with what it held: what was used stays used."""
    op.drop_index(op.f("ix_once_expires"), table_name="once")
    op.rename_table("once", "once_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_once RENAME TO pk_once_before")
    op.create_table(
        "once",
        sa.Column("expires", sa.Float(), autoincrement=False, nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("expires", "token", name=op.f("pk_once")),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO once (expires, token) SELECT expires, token FROM once_before")
    op.drop_table("once_before")
