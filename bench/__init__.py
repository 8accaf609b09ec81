"""Every figure that the README claims, each beside a peer, taken in one run. See README.md."""
