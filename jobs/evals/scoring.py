"""Right or wrong: an answer of the model against the reference of a row.

Owns: the rules of equality. Must not know: how the answer was made.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from jobs.evals.rows import EvalRow, Scorer

__all__ = ["Answer", "Verdict", "interval", "score"]

_Z = 1.959964


@dataclass(slots=True, frozen=True)
class Answer:
    """What the model said: its text after any reasoning, and its calls as (name, JSON text)."""

    content: str = ""
    calls: Sequence[tuple[str, str]] = ()


@dataclass(slots=True, frozen=True)
class Verdict:
    """`right` as the suite counts it; `reason` says what was wrong, "" if nothing."""

    right: bool
    reason: str = ""


def score(row: EvalRow, answer: Answer) -> Verdict:
    """Judge one answer."""
    reason = _SCORERS[row.scorer](row, answer)
    return Verdict(right=not reason, reason=reason)


def _text(row: EvalRow, answer: Answer) -> str:
    if answer.calls:
        return "a call, expected text"
    same = _trimmed(answer.content) == _trimmed(row.reference["content"])
    return "" if same else "wrong text"


def _trimmed(text: str) -> str:
    return text.strip().rstrip(".")


def _json(row: EvalRow, answer: Answer) -> str:
    try:
        found = json.loads(answer.content)
    except ValueError:
        return "not JSON"
    same = _marked(found) == _marked(json.loads(row.reference["content"]))
    return "" if same else "wrong value"


def _no_call(_row: EvalRow, answer: Answer) -> str:
    if answer.calls:
        return f"{len(answer.calls)} calls, expected none"
    return "" if answer.content.strip() else "empty answer"


def _calls(row: EvalRow, answer: Answer) -> str:
    expected = [made["function"] for made in row.reference["tool_calls"]]
    if len(answer.calls) != len(expected):
        return f"{len(answer.calls)} calls, expected {len(expected)}"
    remaining = [(call["name"], _marked(call["arguments"])) for call in expected]
    for name, arguments in answer.calls:
        try:
            found = (name, _marked(json.loads(arguments)))
        except ValueError:
            return "malformed arguments"
        if found not in remaining:
            return "wrong arguments" if name in {other for other, _ in remaining} else "wrong tool"
        remaining.remove(found)
    return ""


def _valid_calls(row: EvalRow, answer: Answer) -> str:
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
        except SchemaError as error:
            return f"the tool's schema is wrong: {error.message}"
        if errors:
            return "bad arguments"
    return "" if answer.calls else "no call"


_SCORERS = {
    Scorer.TEXT: _text,
    Scorer.JSON: _json,
    Scorer.CALLS: _calls,
    Scorer.NO_CALL: _no_call,
    Scorer.VALID_CALLS: _valid_calls,
}


def _marked(value: Any) -> object:
    """Equal for equal JSON: 1 equals 1.0, but true is not 1."""
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


def interval(num_right: int, total: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, 0..1."""
    if not total:
        return (0.0, 1.0)
    share, square = num_right / total, _Z * _Z
    middle = share + square / (2 * total)
    spread = _Z * (share * (1 - share) / total + square / (4 * total * total)) ** 0.5
    scale = 1 + square / total
    return ((middle - spread) / scale, (middle + spread) / scale)
