"""Right or wrong: an answer of the model against the reference of a held-out row.

Owns: the rules of equality and the parsing of the model's text form. Must not know: how it was run.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jobs.evals.demo.suite import HeldOutRow

__all__ = ["Verdict", "interval", "parse_calls", "score"]

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_Z = 1.959964


@dataclass(slots=True, frozen=True)
class Verdict:
    """`right` as the suite counts it; `reason` says what was wrong, "" if nothing."""

    right: bool
    reason: str = ""


def parse_calls(text: str) -> list[dict[str, Any]] | None:
    """The Hermes-style calls in a text as `{"name", "arguments"}`; None if one is malformed."""
    calls = []
    for match in _CALL.finditer(text):
        try:
            call = json.loads(match.group(1))
        except ValueError:
            return None
        if not isinstance(call, dict) or set(call) != {"name", "arguments"}:
            return None
        calls.append(call)
    return None if text.count("<tool_call>") != len(calls) else calls


def score(row: HeldOutRow, text: str, calls: Sequence[dict[str, Any]] | None = None) -> Verdict:
    """Judges the model's answer, the text after any reasoning.

    `calls` are parsed calls as `{"name", "arguments"}` (arguments as an object); without them they
    are parsed from the text.
    """
    content = text.rpartition("</think>")[2].strip()
    found = parse_calls(content) if calls is None else list(calls)
    if found is None:
        return Verdict(right=False, reason="malformed tool call")
    expected = [made["function"] for made in row.reference.get("tool_calls", ())]
    if expected or found:
        return _score_calls(found, expected)
    return _score_text(row, content)


def _score_calls(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> Verdict:
    if len(found) != len(expected):
        return Verdict(right=False, reason=f"{len(found)} calls, expected {len(expected)}")
    remaining = list(expected)
    for call in found:
        if not any(_same(call, other) for other in remaining):
            names = {other["name"] for other in remaining}
            known = call["name"] in names
            return Verdict(right=False, reason="wrong arguments" if known else "wrong tool")
        remaining.remove(next(other for other in remaining if _same(call, other)))
    return Verdict(right=True)


def _same(left: Any, right: Any) -> bool:
    """JSON equality: 1 equals 1.0, but true is not 1."""
    return _marked(left) == _marked(right)


def _marked(value: Any) -> object:
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


def _score_text(row: HeldOutRow, content: str) -> Verdict:
    expected = row.reference["content"]
    if row.task == "no_call":
        return Verdict(right=bool(content), reason="" if content else "empty answer")
    if row.task == "extraction":
        try:
            right = _same(json.loads(content), json.loads(expected))
        except ValueError:
            return Verdict(right=False, reason="not JSON")
        return Verdict(right=right, reason="" if right else "wrong value")
    right = content.rstrip(".") == expected.rstrip(".")
    return Verdict(right=right, reason="" if right else "wrong text")


def interval(num_right: int, total: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, 0..1."""
    if not total:
        return (0.0, 1.0)
    share, square = num_right / total, _Z * _Z
    middle = share + square / (2 * total)
    spread = _Z * (share * (1 - share) / total + square / (4 * total * total)) ** 0.5
    scale = 1 + square / total
    return ((middle - spread) / scale, (middle + spread) / scale)
