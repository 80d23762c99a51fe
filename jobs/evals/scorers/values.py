"""JSON values: equal to one, or valid under a schema.

Owns: both comparisons. Must not know: where the texts come from.
"""

import json
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from jobs.evals.answer import Answer
from jobs.evals.rows import EvalRow
from jobs.evals.scorers.text import extracted
from schemas.json_text import parse_json

__all__ = ["check_schema", "check_value", "fits_schema", "marked", "same_value"]


def check_value(row: EvalRow) -> None:
    """The reference is an assistant message whose text is JSON."""
    content = row.reference.get("content")
    if not isinstance(content, str):
        raise ValueError("the reference has no 'content', a text that is JSON")
    try:
        json.loads(content)
    except ValueError as error:
        raise ValueError(f"the reference's content is no JSON: {error}") from error


def check_schema(row: EvalRow) -> None:
    """The reference holds a JSON schema."""
    schema = row.reference.get("schema")
    if not isinstance(schema, dict | bool):
        raise ValueError(f"the target {schema!r} should be a JSON schema")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"the JSON schema is wrong: {error.message}") from error


def same_value(row: EvalRow, answer: Answer) -> str:
    """The answer is the same JSON value as the reference's content."""
    try:
        found = _value(row, answer)
    except ValueError as error:
        return str(error)
    same = marked(found) == marked(json.loads(row.reference["content"]))
    return "" if same else "wrong value"


def fits_schema(row: EvalRow, answer: Answer) -> str:
    """The answer is JSON that the schema allows; the first thing that it does not is the reason."""
    try:
        found = _value(row, answer)
    except ValueError as error:
        return str(error)
    try:
        first = next(Draft202012Validator(row.reference["schema"]).iter_errors(found), None)
    except Unresolvable as error:
        return f"the schema is wrong: {error}"
    return "" if first is None else f"does not fit at {first.json_path}"


def marked(value: Any) -> object:
    """Equal for equal JSON: 1 equals 1.0, but true is not 1."""
    if isinstance(value, dict):
        return {key: marked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [marked(item) for item in value]
    return ("bool", value) if isinstance(value, bool) else value


def _value(row: EvalRow, answer: Answer) -> Any:
    """Raises ValueError with the verdict's reason."""
    try:
        part = extracted(answer.content, row.options)
    except TimeoutError:
        raise ValueError("the search took too long") from None
    if part is None:
        raise ValueError("nothing to extract")
    try:
        return parse_json(part.strip().encode("utf-8", "surrogatepass"))
    except ValueError:
        raise ValueError("not JSON") from None
