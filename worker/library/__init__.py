"""headrace as a Python library: what `headrace.py` offers to scripts, notebooks and pipelines."""
