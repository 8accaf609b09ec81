"""The door-plate says what the room does."""

from __future__ import annotations

from pathlib import Path

from ingest.folding import BUDGET, PART
from ingest.profiles import MAX_TEXT, Form
from ingest.reasons import Reason
from ingest.sources.layout import MAX_COLUMNS
from ingest.survey import MOST_REJECTED

README = (Path(__file__).parents[2] / "ingest/README.md").read_text()


def test_every_reason_stands_in_the_table_with_its_sentence_in_order() -> None:
    rows = [f"| `{reason}` | {reason.sentence} |" for reason in Reason]
    assert "\n".join(rows) in README


def test_every_profile_and_every_bound_is_told() -> None:
    assert all(f"| `{form}` |" in README for form in Form)
    for bound in (MAX_COLUMNS, MOST_REJECTED, BUDGET, PART, MAX_TEXT):
        assert f"{bound:,}" in README
