"""Measuring the engine with requests of known shape: what `headrace bench` does."""
