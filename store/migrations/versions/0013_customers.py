"""Customers are found by meter point from one index: fleets are decided so."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_FOUND = ["tag", "start", "subject", "entry"]


def upgrade() -> None:
    """Make the index, which holds all that a decision looks at."""
    op.create_index(op.f("ix_tenancies_" + "_".join(_FOUND)), "tenancies", _FOUND, unique=False)
