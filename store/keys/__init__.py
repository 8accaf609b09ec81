"""The key register: KEK, bucket keys, DEKs, secrets, and names of meter points."""
