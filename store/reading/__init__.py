"""The way out: rows found, opened under a Grant, laid over each other."""
