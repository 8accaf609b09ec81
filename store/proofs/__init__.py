"""What an outsider can check of a log: trees, notes, tiles, proofs, witnesses. Pure."""
