"""The held-out suite as rows with known answers.

Owns: the rows and their order. Must not know: how they are run or scored.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from jobs.evals.demo.text import arithmetic, chat, classification, extraction
from jobs.evals.demo.tools import no_call, parallel_calls, single_call, tool_result
from jobs.evals.rows import EvalRow, Scorer

__all__ = ["TASKS", "held_out_rows"]

_MAKERS: dict[str, tuple[Scorer, Callable[[Random], tuple[dict[str, Any], dict[str, Any]]]]] = {
    "single": (Scorer.CALLS, single_call),
    "parallel": (Scorer.CALLS, parallel_calls),
    "no_call": (Scorer.NO_CALL, no_call),
    "tool_result": (Scorer.TEXT, tool_result),
    "extraction": (Scorer.JSON, extraction),
    "classification": (Scorer.TEXT, classification),
    "arithmetic": (Scorer.TEXT, arithmetic),
    "arithmetic_thinking": (Scorer.TEXT, arithmetic),
    "chat": (Scorer.TEXT, chat),
}
TASKS = tuple(_MAKERS)
_MAX_TOKENS = 256


def held_out_rows(num_per_task: int, *, seed: int = 0, model: str = "demo") -> Iterator[EvalRow]:
    """`num_per_task` rows of each task, the same for the same seed."""
    for task, (scorer, make) in _MAKERS.items():
        rng = Random(f"held-out/{seed}/{task}")
        for number in range(num_per_task):
            made, reference = make(rng)
            body = {"model": model, **made, "temperature": 0, "max_tokens": _MAX_TOKENS}
            if task == "arithmetic_thinking":
                body["chat_template_kwargs"] = {"enable_thinking": True}
            yield EvalRow(f"{task}-{number}", task, scorer, body, reference)
