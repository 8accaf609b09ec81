"""Files of sealed rows, and the catalogue that says which are live. No key."""
