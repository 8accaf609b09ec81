"""The policy set as it is read: Cedar, the matrix, and rules of limits, times and lives."""
