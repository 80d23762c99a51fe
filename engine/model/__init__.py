"""Checkpoints: finding, refusing, loading and measuring them.

Owns: everything between a model's name and a module that computes. Must not know: requests, steps,
the scheduler.
"""
