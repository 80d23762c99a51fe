"""Answers as typed columns.

Owns: reading the JSON of answers into an Arrow array, and what is said about an answer that is not
what its schema promised. Must not know: schemas, rows, files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from jobs.tables.answer_types import AnswerType
from schemas.json_text import parse_json

__all__ = ["ANSWER_PARSE_ERROR", "ParsedAnswers", "parse_answers"]

ANSWER_PARSE_ERROR = "answer_parse_error"
"""The error code of a row whose answer has no typed value."""


@dataclass(frozen=True, slots=True)
class ParsedAnswers:
    """One array, null where there is no typed value; `problems` says why, by position."""

    values: Any
    problems: dict[int, str]


def parse_answers(texts: Sequence[str | None], kind: AnswerType) -> ParsedAnswers:
    """The values of JSON texts. None is an answer that there is not, and no problem."""
    problems: dict[int, str] = {}
    values: list[Any] = []
    for position, text in enumerate(texts):
        value = None
        if text is not None:
            try:
                value = kind.of(parse_json(text.strip().encode()))
            except ValueError as error:
                problems[position] = f"The answer is not JSON: {error}."
            except TypeError as error:
                problems[position] = f"The answer does not fit its schema: {error}."
        values.append(value)
    try:
        return ParsedAnswers(pa.array(values, type=kind.arrow), problems)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return ParsedAnswers(_one_by_one(values, kind.arrow, problems), problems)


def _one_by_one(values: list[Any], kind: Any, problems: dict[int, str]) -> Any:
    """The array without the values that do not fit their type."""
    for position, value in enumerate(values):
        try:
            pa.array([value], type=kind)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            reason = " ".join(str(error).split())[:300]
            problems[position] = f"The answer does not fit its schema: {reason}"
            values[position] = None
    return pa.array(values, type=kind)
