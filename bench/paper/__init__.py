"""The paper model: time, money and requests of a fleet on AWS; see ``bench/README.md``."""
