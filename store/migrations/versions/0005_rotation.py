"""Keys rotate: KEKs have epochs, tags a generation, long work a place where it is taken up."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of KEKs and of jobs; what is wrapped already is of the first KEK."""
    op.create_table(
        "keks",
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("named", sa.LargeBinary(), nullable=False),
        sa.Column("probe", sa.LargeBinary(), nullable=False),
        sa.Column("begun", sa.Float(), nullable=False),
        sa.Column("ended", sa.Float(), nullable=True),
        sa.Column("destroyed", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_keks")),
    )
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("holder", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.Column("begun", sa.Float(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_jobs")),
    )
    # What stands was made before: the first generation, under the first KEK, at a time unknown.
    whole = sa.Integer()
    for table, name, kind, said in (
        ("head", "lookup", sa.SmallInteger(), "1"),
        ("secrets", "kek", whole, "1"),
        ("bucket_keys", "kek", whole, "1"),
        ("bucket_keys", "created", sa.Float(), "0"),
    ):
        with op.batch_alter_table(table) as changed:
            changed.add_column(sa.Column(name, kind, nullable=False, server_default=said))
        with op.batch_alter_table(table) as changed:
            changed.alter_column(name, existing_type=kind, server_default=None, nullable=False)
    with op.batch_alter_table("head") as head:
        head.add_column(sa.Column("lookup_next", sa.SmallInteger(), nullable=True))
