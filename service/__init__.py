"""The way out: request, principal, grant, leaf, rows, answer."""
