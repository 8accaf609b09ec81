"""Who keeps what the store needs of the world: folder, key file, AWS, a token."""
