"""What meters lack, and which service requests fill it."""
