"""Evaluation suites: rows with known answers and their scorers, free of torch."""
