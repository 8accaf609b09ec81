"""The first tables. See `store.tables` for what each column means."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "batches",
        sa.Column("batch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("batch", name=op.f("pk_batches")),
    )
    op.create_table(
        "bucket_keys",
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "generation", name=op.f("pk_bucket_keys")),
    )
    op.create_table(
        "client_keys",
        sa.Column("party", sa.String(length=40), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("jwk", sa.Text(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("party", "kid", name=op.f("pk_client_keys")),
    )
    op.create_table(
        "commits",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=True),
        sa.Column("days", sa.BigInteger(), nullable=False),
        sa.Column("reads", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_commits")),
        sa.UniqueConstraint("batch", name=op.f("uq_commits_batch")),
    )
    op.create_table(
        "consents",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("tenancy", sa.BigInteger(), nullable=False),
        sa.Column("party", sa.String(length=40), nullable=False),
        sa.Column("purpose", sa.String(length=60), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=True),
        sa.Column("granularity", sa.String(length=8), nullable=False),
        sa.Column("registers", sa.Text(), nullable=False),
        sa.Column("granted", sa.Float(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=True),
        sa.Column("reminder_due", sa.Float(), nullable=True),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=30), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consents")),
    )
    op.create_index(op.f("ix_consents_tag_party"), "consents", ["tag", "party"], unique=False)
    op.create_table(
        "deks",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("check", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("subject", "number", name=op.f("pk_deks")),
    )
    op.create_table(
        "details",
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_details")),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("register", sa.SmallInteger(), nullable=False),
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("low", sa.LargeBinary(), nullable=False),
        sa.Column("high", sa.LargeBinary(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("index_digest", sa.LargeBinary(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sa.UniqueConstraint("name", name=op.f("uq_files_name")),
    )
    op.create_index(op.f("ix_files_batch"), "files", ["batch"], unique=False)
    op.create_index(
        op.f("ix_files_register_month_state"), "files", ["register", "month", "state"], unique=False
    )
    op.create_table(
        "head",
        sa.Column("one", sa.Integer(), nullable=False),
        sa.Column("store", sa.LargeBinary(), nullable=False),
        sa.Column("commit", sa.BigInteger(), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("moves", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_head")),
    )
    op.create_table(
        "leaves",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leaves")),
        sa.UniqueConstraint("entry", name=op.f("uq_leaves_entry")),
        sa.UniqueConstraint("position", name=op.f("uq_leaves_position")),
    )
    op.create_table(
        "ledger",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("profile", sa.String(length=200), nullable=False),
        sa.Column("commit", sa.BigInteger(), nullable=False),
        sa.Column("reads", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "profile", name=op.f("pk_ledger")),
    )
    op.create_table(
        "once",
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("expires", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_once")),
    )
    op.create_index(op.f("ix_once_expires"), "once", ["expires"], unique=False)
    op.create_table(
        "parties",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_parties")),
        sa.UniqueConstraint("name", name=op.f("uq_parties_name")),
    )
    op.create_table(
        "registrations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("party", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("premises", sa.String(length=20), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=True),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registrations")),
        sa.UniqueConstraint(
            "tag", "party", "role", "start", name=op.f("uq_registrations_tag_party_role_start")
        ),
    )
    op.create_table(
        "rejected",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("profile", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=60), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("replayed", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected")),
    )
    op.create_index(op.f("ix_rejected_batch"), "rejected", ["batch"], unique=False)
    op.create_index(op.f("ix_rejected_subject"), "rejected", ["subject"], unique=False)
    op.create_table(
        "reverts",
        sa.Column("commit", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("by", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("commit", name=op.f("pk_reverts")),
    )
    op.create_table(
        "runs",
        sa.Column("file", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first", sa.LargeBinary(), nullable=False),
        sa.Column("page", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("file", "first", name=op.f("pk_runs")),
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("generation", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", "generation", name=op.f("pk_secrets")),
    )
    op.create_table(
        "supply_choices",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("party", sa.String(length=40), nullable=False),
        sa.Column("granularity", sa.String(length=8), nullable=False),
        sa.Column("choice", sa.String(length=10), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_supply_choices")),
    )
    op.create_index(
        op.f("ix_supply_choices_tag_party"), "supply_choices", ["tag", "party"], unique=False
    )
    op.create_table(
        "tenancies",
        sa.Column("tag", sa.LargeBinary(), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=True),
        sa.Column("mpxn", sa.LargeBinary(), nullable=True),
        sa.Column("erased", sa.Float(), nullable=True),
        sa.Column("moved", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tag", "start", name=op.f("pk_tenancies")),
        sa.UniqueConstraint("subject", name=op.f("uq_tenancies_subject")),
    )
