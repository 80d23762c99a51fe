"""A training example: a conversation and the assistant turn to learn.

Owns: the dataclass every task returns. Must not know: any task, tokens.
"""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Example", "call", "user"]


@dataclass(slots=True, frozen=True)
class Example:
    """`messages` end before the answer; `answer` is the assistant message to learn."""

    task: str
    messages: list[dict[str, Any]]
    answer: dict[str, Any]
    tools: list[dict[str, Any]] = field(default_factory=list)
    thinking: bool = False


def user(text: str) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": text}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A tool call as it stands in an assistant message."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}}
