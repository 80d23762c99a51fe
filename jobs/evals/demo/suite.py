"""The held-out suite as OpenAI batch lines with known answers.

Owns: the rows and their order. Must not know: how they are run or scored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from jobs.evals.demo.text import arithmetic, chat, classification, extraction
from jobs.evals.demo.tools import no_call, parallel_calls, single_call, tool_result

__all__ = ["TASKS", "HeldOutRow", "held_out_rows"]

_MAKERS: dict[str, Callable[[Random], tuple[dict[str, Any], dict[str, Any]]]] = {
    "single": single_call,
    "parallel": parallel_calls,
    "no_call": no_call,
    "tool_result": tool_result,
    "extraction": extraction,
    "classification": classification,
    "arithmetic": arithmetic,
    "arithmetic_thinking": arithmetic,
    "chat": chat,
}
TASKS = tuple(_MAKERS)
_MAX_TOKENS = 256


@dataclass(slots=True, frozen=True)
class HeldOutRow:
    """One row. `body` is a chat request; `reference` the assistant message that is right."""

    custom_id: str
    task: str
    body: dict[str, Any]
    reference: dict[str, Any]

    def batch_line(self) -> dict[str, Any]:
        """The row as a line of an OpenAI batch file."""
        return {
            "custom_id": self.custom_id,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": self.body,
        }


def held_out_rows(num_per_task: int, *, seed: int = 0, model: str = "demo") -> Iterator[HeldOutRow]:
    """`num_per_task` rows of each task, the same for the same seed."""
    for task, make in _MAKERS.items():
        rng = Random(f"held-out/{seed}/{task}")
        for number in range(num_per_task):
            made, reference = make(rng)
            body = {"model": model, **made, "temperature": 0, "max_tokens": _MAX_TOKENS}
            if task == "arithmetic_thinking":
                body["chat_template_kwargs"] = {"enable_thinking": True}
            yield HeldOutRow(f"{task}-{number}", task, body, reference)
