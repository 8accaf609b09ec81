"""The store held against itself and against its log. Nothing is mended."""
