"""What must hold whichever door you came by: formats, keys, catalogue, grants, log. No HTTP."""
