"""Answers as bytes: one module per media type. Values in, bytes out; no network, key or clock."""
