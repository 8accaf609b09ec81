"""A party's facts are found together, by meter point: fleets are decided so."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SUPPLIED = ["party", "tag", "role", "premises", "start", "end", "entry"]


def upgrade() -> None:
    """Make the indexes; that of registrations holds all that a decision looks at."""
    name = op.f("ix_registrations_" + "_".join(_SUPPLIED))
    op.create_index(name, "registrations", _SUPPLIED, unique=False)
    op.create_index(op.f("ix_consents_party_tag"), "consents", ["party", "tag"], unique=False)
