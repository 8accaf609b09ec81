"""A folder into which others put deliveries: each whole file is taken in once."""
