"""Exports made: decided, planned, opened by workers, published."""
