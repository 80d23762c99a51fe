"""Rows of an evaluation: a request, the answer that is right, and how the two are compared.

Owns: the suite file's form (one JSON object a line: a batch line with `task`, `scorer` and
`reference` beside it) and the batch file made from it. Must not know: how rows are run.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from jobs.errors import InputError

__all__ = ["EvalRow", "Scorer", "read_rows", "suite_line", "write_requests"]

_URL = "/v1/chat/completions"


class Scorer(StrEnum):
    """What makes an answer right.

    TEXT: the reference's text, a final full stop aside. JSON: a content that is the same JSON
    value. CALLS: the reference's tool calls in any order, and no others. NO_CALL: some text, and no
    call. VALID_CALLS: at least one call, each of an offered tool with arguments its schema allows;
    needs no reference.
    """

    TEXT = "text"
    JSON = "json"
    CALLS = "calls"
    NO_CALL = "no_call"
    VALID_CALLS = "valid_calls"


@dataclass(slots=True, frozen=True)
class EvalRow:
    """One row. `body` is a chat request; `reference` the assistant message that is right."""

    custom_id: str
    task: str
    scorer: Scorer
    body: dict[str, Any]
    reference: dict[str, Any] = field(default_factory=dict)

    def batch_line(self) -> dict[str, Any]:
        """The row as a line of an OpenAI batch file."""
        return {"custom_id": self.custom_id, "method": "POST", "url": _URL, "body": self.body}


def suite_line(row: EvalRow) -> str:
    """The row as a line of a suite file, without its newline."""
    beside = {"task": row.task, "scorer": row.scorer, "reference": row.reference}
    return json.dumps({**row.batch_line(), **beside}, ensure_ascii=False)


def write_requests(rows: Iterable[EvalRow], path: Path, *, model: str | None = None) -> None:
    """Write the batch file that asks what `rows` ask, of `model` if one is given."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            line = row.batch_line()
            if model is not None:
                line["body"] = {**row.body, "model": model}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_rows(path: Path) -> Iterator[EvalRow]:
    """The rows of a suite file.

    A line without `scorer` is scored by its reference: CALLS if that has tool calls, else TEXT; a
    line with tools and without a reference by VALID_CALLS. Raises InputError with the line's
    number.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the suite {path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _row(line, f"{path}, line {number}")


def _row(line: str, where: str) -> EvalRow:
    try:
        entry = json.loads(line)
        body, reference = entry["body"], entry.get("reference", {})
        return EvalRow(
            custom_id=_text(entry["custom_id"]),
            task=_text(entry.get("task", "all")),
            scorer=Scorer(entry.get("scorer") or _default_scorer(body, reference)),
            body=body,
            reference=reference,
        )
    except KeyError as error:
        raise InputError(f"{where}: {error.args[0]!r} is missing") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{where} is no row of a suite: {error}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} should be a string")
    return value


def _default_scorer(body: dict[str, Any], reference: dict[str, Any]) -> Scorer:
    if reference.get("tool_calls"):
        return Scorer.CALLS
    if "content" in reference:
        return Scorer.TEXT
    if body.get("tools"):
        return Scorer.VALID_CALLS
    raise ValueError("it has neither a reference nor tools, so no answer can be judged")
