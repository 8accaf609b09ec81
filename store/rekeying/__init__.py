"""New keys for old, and rows that become another customer's."""
