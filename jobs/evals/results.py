"""Answers read out of Parquet result files.

Owns: which columns and which parts of a response hold them. Must not know: what is right.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs.evals.answer import Answer, ChoiceScore

__all__ = ["RowResult", "read_results"]

_COLUMNS = [
    *("custom_id", "status_code", "content", "tool_calls", "error_message", "finish_reason"),
    *("completion_tokens", "fingerprint", "request_hash", "response_json"),
]


@dataclass(slots=True, frozen=True, kw_only=True)
class RowResult:
    """What came back for one row: one answer for each sample, or the error's message."""

    answers: tuple[Answer, ...] = ()
    error: str | None = None
    finish_reason: str | None = None
    completion_tokens: int = 0
    fingerprint: str | None = None
    request_hash: str | None = None


def read_results(
    files: Iterable[Path], prompts: Mapping[str, str] | None = None
) -> dict[str, RowResult]:
    """By custom_id. `prompts` has the prompt of each row whose answer is a score for each of its
    endings.
    """
    found: dict[str, RowResult] = {}
    for path in files:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1_000, columns=_COLUMNS):
            for cells in batch.to_pylist():
                prompt = (prompts or {}).get(cells["custom_id"])
                found[cells["custom_id"]] = _result(cells, prompt)
    return found


def _result(cells: Mapping[str, Any], prompt: str | None) -> RowResult:
    facts = {
        "finish_reason": cells["finish_reason"],
        "completion_tokens": cells["completion_tokens"] or 0,
        "fingerprint": cells["fingerprint"],
        "request_hash": cells["request_hash"],
    }
    if cells["status_code"] != 200:
        return RowResult(error=cells["error_message"] or "failed", **facts)
    response = json.loads(cells["response_json"]) if cells["response_json"] else {}
    choices = sorted(response.get("choices", ()), key=lambda choice: int(choice["index"]))
    if prompt is not None:
        scores = [_score(choice, len(prompt)) for choice in choices]
        return RowResult(answers=(Answer(choices=scores),), **facts)
    if len(choices) > 1:
        return RowResult(answers=tuple(_answer(choice) for choice in choices), **facts)
    calls = [(call["name"], call["arguments"]) for call in cells["tool_calls"] or ()]
    return RowResult(answers=(Answer(cells["content"] or "", calls),), **facts)


def _answer(choice: Mapping[str, Any]) -> Answer:
    """Of one sample of several; text completions have a `text` instead of a message."""
    message = choice.get("message")
    if message is None:
        return Answer(choice.get("text") or "")
    made = [call["function"] for call in message.get("tool_calls") or ()]
    return Answer(
        message.get("content") or "", [(call["name"], call["arguments"]) for call in made]
    )


def _score(choice: Mapping[str, Any], num_prompt_chars: int) -> ChoiceScore:
    """Of the tokens that reach beyond the prompt; one that straddles its end belongs to both."""
    logprobs = choice["logprobs"]
    starts: Sequence[int] = logprobs["text_offset"]
    ends = [*starts[1:], len(choice["text"])]
    counted = [
        logprob
        for end, logprob in zip(ends, logprobs["token_logprobs"], strict=True)
        if end > num_prompt_chars and logprob is not None
    ]
    return ChoiceScore(sum(counted), len(counted))
