"""Who may read what: a decision for one meter point, and for a fleet."""
