"""A party's choices are found together, by meter point, as its registrations and consents are."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index."""
    name = op.f("ix_supply_choices_party_tag")
    op.create_index(name, "supply_choices", ["party", "tag"], unique=False)
