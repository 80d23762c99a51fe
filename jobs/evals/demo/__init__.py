"""The demo model's held-out suite: rows, answers and scorers.

Owns: vocabulary, templates, schema names and value lists that training never saw.
Must not know: the training package, the engine, the queue. A test checks that both sides differ.
"""

from jobs.evals.demo.scoring import Verdict, score
from jobs.evals.demo.suite import TASKS, HeldOutRow, held_out_rows

__all__ = ["TASKS", "HeldOutRow", "Verdict", "held_out_rows", "score"]
