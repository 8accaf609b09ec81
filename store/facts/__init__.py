"""What is known of parties and customers, each fact bound to its leaf of the log."""
