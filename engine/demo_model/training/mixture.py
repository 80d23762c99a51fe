"""Which task comes next: the curriculum from copying to full tool calls.

Owns: task weights over training progress. Must not know: how a task is made or tokenised.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from engine.demo_model.training.arithmetic import arithmetic
from engine.demo_model.training.chat_tasks import chat
from engine.demo_model.training.examples import Example
from engine.demo_model.training.text_tasks import classification, extraction, lookup, repeating
from engine.demo_model.training.tool_tasks import tool_session

__all__ = ["draw"]

# (task, weight at the start, weight once the curriculum is over)
_WEIGHTS = (
    ("repeating", 30, 2),
    ("lookup", 30, 3),
    ("single", 12, 30),
    ("parallel", 0, 14),
    ("no_call", 2, 9),
    ("tool_result", 2, 4),
    ("extraction", 10, 16),
    ("classification", 10, 18),
    ("arithmetic", 6, 20),
    ("chat", 5, 14),
)
_THINKING_SHARE = 0.06


def draw(rng: Random, progress: float) -> Example:
    """A random example; `progress` runs from 0 (copying) to 1 (the full mixture)."""
    weights = [start + (end - start) * progress for _, start, end in _WEIGHTS]
    task = rng.choices([name for name, _, _ in _WEIGHTS], weights)[0]
    most_tools = 2 + round(4 * progress)
    max_tools = rng.randint(1, most_tools) if rng.random() < 0.5 else most_tools
    makers: dict[str, Callable[[], Example]] = {
        "repeating": lambda: repeating(rng),
        "lookup": lambda: lookup(rng),
        "single": lambda: tool_session(rng, "single", max_tools),
        "parallel": lambda: tool_session(rng, "parallel", max_tools),
        "no_call": lambda: tool_session(rng, "no_call", max_tools),
        "tool_result": lambda: tool_session(rng, "tool_result", max_tools),
        "extraction": lambda: extraction(rng),
        "classification": lambda: classification(rng),
        "arithmetic": lambda: arithmetic(rng),
        "chat": lambda: chat(rng),
    }
    return _maybe_thinking(rng, makers[task]())


def _maybe_thinking(rng: Random, example: Example) -> Example:
    """A few examples of every task answer in thinking mode, with a one-line thought."""
    if example.thinking or example.task == "arithmetic" or rng.random() > _THINKING_SHARE:
        return example
    calls = example.answer.get("tool_calls")
    if calls:
        thought = "I call " + ", ".join(made["function"]["name"] for made in calls) + "."
    else:
        thought = "No tool fits." if example.task == "no_call" else "I can answer this."
    return replace(example, thinking=True, answer={**example.answer, "reasoning_content": thought})
