"""Tool calls: the expected ones in any order, none, or any that fit the offered tools.

Owns: these comparisons. Must not know: how calls are parsed out of a model's text.
"""

import json
from typing import Any

from jsonschema import Draft202012Validator
from referencing.exceptions import Unresolvable

from jobs.evals.answer import Answer
from jobs.evals.rows import EvalRow
from jobs.evals.scorers.values import marked

__all__ = ["check_calls", "check_tools", "no_call", "same_calls", "valid_calls"]


def check_calls(row: EvalRow) -> None:
    """The reference is an assistant message with calls, their arguments as objects or JSON text."""
    calls = row.reference.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        raise ValueError("the reference has no 'tool_calls', a list")
    for call in calls:
        try:
            function = call["function"]
            if not isinstance(function["name"], str):
                raise TypeError
            _arguments(function)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the expected call {call!r} should have the form "
                '{"function": {"name": ..., "arguments": {...}}}'
            ) from error


def check_tools(row: EvalRow) -> None:
    """The request offers tools."""
    if not row.body.get("tools"):
        raise ValueError("the request offers no 'tools', so no call could be valid")


def no_call(_row: EvalRow, answer: Answer) -> str:
    """Some text, and no call."""
    if answer.calls:
        return f"{len(answer.calls)} calls, expected none"
    return "" if answer.content.strip() else "empty answer"


def same_calls(row: EvalRow, answer: Answer) -> str:
    """The expected calls in any order, and no others."""
    expected = [made["function"] for made in row.reference["tool_calls"]]
    if len(answer.calls) != len(expected):
        return f"{len(answer.calls)} calls, expected {len(expected)}"
    remaining = [(call["name"], marked(_arguments(call))) for call in expected]
    for name, arguments in answer.calls:
        try:
            found = (name, marked(json.loads(arguments)))
        except ValueError:
            return "malformed arguments"
        if found not in remaining:
            return "wrong arguments" if name in {other for other, _ in remaining} else "wrong tool"
        remaining.remove(found)
    return ""


def valid_calls(row: EvalRow, answer: Answer) -> str:
    """At least one call, each of an offered tool with arguments that its schema allows."""
    schemas = {
        tool["function"]["name"]: tool["function"].get("parameters") or {}
        for tool in row.body.get("tools", ())
    }
    for name, arguments in answer.calls:
        if name not in schemas:
            return "unknown tool"
        try:
            schema = {"type": "object", **schemas[name]}
            errors = list(Draft202012Validator(schema).iter_errors(json.loads(arguments)))
        except ValueError:
            return "malformed arguments"
        except Unresolvable as error:
            return f"the tool's schema is wrong: {error}"
        if errors:
            return "bad arguments"
    return "" if answer.calls else "no call"


def _arguments(function: dict[str, Any]) -> Any:
    """Of an expected call: OpenAI writes them as JSON text, people as an object."""
    arguments = function.get("arguments") or {}
    return json.loads(arguments) if isinstance(arguments, str) else arguments
