"""What an auditor signs: roles, service requests, bases. Data, no code."""
