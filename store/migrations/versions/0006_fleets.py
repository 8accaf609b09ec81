"""Facts of one party are found in the order in which they were stated: fleets are decided so."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes."""
    for table in ("registrations", "consents"):
        op.create_index(op.f(f"ix_{table}_party_id"), table, ["party", "id"], unique=False)
