"""The life of what is kept: housekeeping, retention, backup and restore."""
