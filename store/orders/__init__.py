"""The book of exports: what was ordered, and how it stands. SQL and values."""
