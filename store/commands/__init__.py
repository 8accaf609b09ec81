"""The commands that keep a store: an argument parser and ten lines each."""
