"""One door to the database, SQLite or PostgreSQL, and the syncs of its file."""
