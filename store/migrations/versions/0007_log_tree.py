"""The log gets a tree: places of leaves, its years, their checkpoints, and who numbers them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of the tree; leaves that are there already wait to be numbered."""
    with op.batch_alter_table("leaves") as leaves:
        leaves.drop_constraint("uq_leaves_position", type_="unique")
        leaves.add_column(sa.Column("shard", sa.Integer(), nullable=True))
        leaves.create_unique_constraint("uq_leaves_shard_position", ["shard", "position"])
    op.create_index(
        "ix_leaves_waiting", "leaves", ["id"], unique=False,
        sqlite_where=sa.text("position IS NULL"), postgresql_where=sa.text("position IS NULL"),
    )  # fmt: skip
    op.create_table(
        "trees",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("numbered", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("shard", name=op.f("pk_trees")),
    )
    op.create_table(
        "checkpoints",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("size", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=True),
        sa.Column("at", sa.Float(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("shard", "size", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "sequencer",
        sa.Column("one", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=40), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_sequencer")),
    )
    op.create_table(
        "policy_sets",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy_sets")),
    )
