"""lm-evaluation-harness on headrace's engine: a model class that hands over everything at once.

Imported only where lm-eval is installed (`pip install 'headrace[evals]'`).
"""
