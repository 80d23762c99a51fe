"""The demo model's held-out suite.

Owns: vocabulary, templates, schema names and value lists that training never saw.
Must not know: the training package, the engine, the queue. A test checks that both sides differ.
"""

from jobs.evals.demo.suite import TASKS, held_out_rows

__all__ = ["TASKS", "held_out_rows"]
