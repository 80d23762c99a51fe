"""Rows of an evaluation: a request, the answer that is right, and how the two are compared.

Owns: what a row is, the batch line it becomes, and the files of rows and requests that are written.
Must not know: how suites are read (row_lines.py), how rows are run or scored.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import xxhash
from pydantic import Field, model_validator

from schemas.json_text import canonical_json
from schemas.requests import CHAT_URL, COMPLETIONS_URL
from schemas.strict import StrictModel

__all__ = [
    "EvalRow",
    "Scorer",
    "ScorerOptions",
    "suite_line",
    "write_requests",
]


class Scorer(StrEnum):
    """What makes an answer right.

    EXACT: one of the reference's texts. TEXT: the same, outer white space and a final full stop
    aside. NORMALISED: the same, case, punctuation, English articles and spacing aside. REGEX: a
    text that a pattern of the reference matches. NUMERIC: a text with the reference's number.
    JSON: a content that is the same JSON value. JSON_SCHEMA: a content that is JSON and fits.
    CALLS: the reference's tool calls in any order, and no others. NO_CALL: some text, and no call.
    VALID_CALLS: at least one call, each of an offered tool with arguments its schema allows; needs
    no reference. CHOICE: of several endings of a prompt, the right one is the likeliest.
    """

    EXACT = "exact"
    TEXT = "text"
    NORMALISED = "normalised"
    REGEX = "regex"
    NUMERIC = "numeric"
    JSON = "json"
    JSON_SCHEMA = "json_schema"
    CALLS = "calls"
    NO_CALL = "no_call"
    VALID_CALLS = "valid_calls"
    CHOICE = "choice"


class ScorerOptions(StrictModel):
    """How a scorer looks at an answer; each option belongs to some scorers only.

    `extract` is a pattern: the last place where it matches the answer, or its first group there, is
    judged instead of the whole. `ignore_case`: EXACT and REGEX. `full`: the pattern of REGEX must
    match everything. `tolerance` (absolute) and `relative_tolerance`: NUMERIC, which takes the
    `which` number of the answer. `length` is what CHOICE divides log-likelihoods by.
    """

    extract: str | None = None
    ignore_case: bool = False
    full: bool = False
    tolerance: float = Field(default=0.0, ge=0.0)
    relative_tolerance: float = Field(default=0.0, ge=0.0)
    which: Literal["first", "last"] = "last"
    length: Literal["none", "characters", "tokens"] = "none"

    @model_validator(mode="before")
    @classmethod
    def _take_whole_numbers(cls, value: Any) -> Any:
        """`tolerance: 1` is a float, although the models here coerce nothing."""
        if not isinstance(value, dict):
            return value
        return {
            name: float(item) if "tolerance" in name and type(item) is int else item
            for name, item in value.items()
        }

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given a value."""
        return self.model_dump(exclude_unset=True)


_NO_OPTIONS = ScorerOptions()


@dataclass(slots=True, frozen=True)
class EvalRow:
    """One row. `body` is the request: a chat request, or a text completion for CHOICE.

    `reference` is what is right: an assistant message (`content`, `tool_calls`) for TEXT, JSON and
    CALLS, `targets` (a list of texts) for EXACT, NORMALISED and REGEX, `number`, `schema`, or
    `choices` with the index `answer`.
    """

    custom_id: str
    task: str
    scorer: Scorer
    body: dict[str, Any]
    reference: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    options: ScorerOptions = _NO_OPTIONS

    @property
    def url(self) -> str:
        """The endpoint that answers it."""
        return COMPLETIONS_URL if "prompt" in self.body else CHAT_URL

    @property
    def question(self) -> str:
        """The end of what is asked, for people."""
        if "prompt" in self.body:
            prompt = self.body["prompt"]
            return str(prompt if isinstance(prompt, str) else self.reference.get("prompt", ""))
        content = self.body["messages"][-1].get("content") if self.body.get("messages") else ""
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)

    @property
    def digest(self) -> str:
        """32 hex digits over all that decides whether an answer is right."""
        parts = [self.task, self.scorer, self.body, self.reference, self.options.given]
        return xxhash.xxh3_128_hexdigest(canonical_json(parts))

    def batch_line(self) -> dict[str, Any]:
        """The row as a line of an OpenAI batch file."""
        return {"custom_id": self.custom_id, "method": "POST", "url": self.url, "body": self.body}


def suite_line(row: EvalRow) -> str:
    """The row as a line of a suite file, without its newline."""
    entry: dict[str, Any] = {**row.batch_line(), "task": row.task, "scorer": row.scorer}
    if row.options.given:
        entry["scorer"] = {"type": row.scorer, **row.options.given}
    if row.tags:
        entry["tags"] = list(row.tags)
    return json.dumps({**entry, "reference": row.reference}, ensure_ascii=False)


def write_requests(rows: Iterable[EvalRow], path: Path, *, model: str | None = None) -> None:
    """Write the batch file that asks what `rows` ask, of `model` if one is given."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            line = row.batch_line()
            if model is not None:
                line["body"] = {**row.body, "model": model}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
