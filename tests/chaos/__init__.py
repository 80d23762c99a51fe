"""Faults on purpose, and a count of what they broke. `python -m tests.chaos --help`."""
