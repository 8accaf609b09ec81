"""Response times: what is promised, what was measured, what it would take."""
