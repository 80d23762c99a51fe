"""The files of scores: `scores.parquet` (a line for each row) and `scores.json` (for each task).

Owns: their columns and keys, which users may rely on. Must not know: how rows are scored.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import InputError
from jobs.evals.answer import Answer
from jobs.evals.scores import GroupScore, ScoredRow, group_scores, tag_scores

__all__ = ["ScoreLine", "as_text", "expected_text", "read_scores", "write_scores"]

_ROWS, _GROUPS = "scores.parquet", "scores.json"
_TYPES: dict[str, pa.DataType] = {
    "custom_id": pa.string(),
    "task": pa.string(),
    "tags": pa.list_(pa.string()),
    "right": pa.bool_(),
    "score": pa.float64(),
    "samples": pa.int32(),
    "samples_right": pa.int32(),
    "reason": pa.string(),
    "question": pa.string(),
    "expected": pa.string(),
    "content": pa.string(),
    "tool_calls": pa.string(),
    "answers": pa.list_(pa.string()),
    "finish_reason": pa.string(),
    "completion_tokens": pa.int32(),
    "row_hash": pa.string(),
    "request_hash": pa.string(),
    "fingerprint": pa.string(),
}


@dataclass(slots=True, frozen=True)
class ScoreLine:
    """One row of a scores file. `answers` are the texts of all samples."""

    custom_id: str
    task: str
    tags: tuple[str, ...]
    score: float
    samples: int
    samples_right: int
    reason: str
    question: str
    expected: str
    answers: tuple[str, ...]
    row_hash: str


def write_scores(
    folder: Path, scored: Sequence[ScoredRow], pass_at: Sequence[int] = ()
) -> tuple[Path, Path]:
    """Write both files into `folder`."""
    table = pa.Table.from_pylist([_entry(each) for each in scored], pa.schema(_TYPES))
    rows_path, groups_path = folder / _ROWS, folder / _GROUPS
    pq.write_table(table, rows_path, compression="zstd")
    content = {
        "overall": _group(GroupScore("overall", tuple(scored)), pass_at),
        "tasks": {group.name: _group(group, pass_at) for group in group_scores(scored)},
        "tags": {group.name: _group(group, pass_at) for group in tag_scores(scored)},
    }
    groups_path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return rows_path, groups_path


def read_scores(folder: Path) -> list[ScoreLine]:
    """The rows of an evaluation. Raises InputError if `folder` has none that can be read."""
    path = folder / _ROWS
    names = list(ScoreLine.__dataclass_fields__)
    try:
        lines = pq.read_table(path, columns=names).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{folder} holds no evaluation that can be compared ({error}); give the folder that "
            "'headrace eval -o' wrote"
        ) from error
    return [ScoreLine(**{**cells, **_tuples(cells)}) for cells in lines]


def as_text(answer: Answer) -> str:
    """An answer as people read it: its text, then its calls, or the scores of the choices."""
    if answer.choices:
        scores = [round(choice.logprob, 4) for choice in answer.choices]
        return json.dumps(scores)
    calls = [f"{name}({arguments})" for name, arguments in answer.calls]
    return "\n".join([answer.content, *calls] if answer.content else calls)


def expected_text(reference: dict[str, Any]) -> str:
    """What would be right, as people read it."""
    if "choices" in reference:
        return f"{reference['answer']}: {reference['choices'][reference['answer']]}"
    if reference.get("tool_calls"):
        return json.dumps([call["function"] for call in reference["tool_calls"]])
    if "targets" in reference:
        return " | ".join(reference["targets"])
    for name in ("content", "number", "schema"):
        if name in reference:
            value = reference[name]
            return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return ""


def _entry(scored: ScoredRow) -> dict[str, Any]:
    row, result, answer = scored.row, scored.result, scored.shown
    return {
        "custom_id": row.custom_id,
        "task": row.task,
        "tags": list(row.tags),
        "right": scored.num_right == len(scored.verdicts),
        "score": scored.score,
        "samples": len(scored.verdicts),
        "samples_right": scored.num_right,
        "reason": scored.reason,
        "question": row.question,
        "expected": expected_text(row.reference),
        "content": answer.content if answer is not None else None,
        "tool_calls": json.dumps(list(answer.calls), ensure_ascii=False) if answer else None,
        "answers": [as_text(each) for each in result.answers],
        "finish_reason": result.finish_reason,
        "completion_tokens": result.completion_tokens,
        "row_hash": row.digest,
        "request_hash": result.request_hash,
        "fingerprint": result.fingerprint,
    }


def _group(group: GroupScore, pass_at: Sequence[int]) -> dict[str, Any]:
    share = group.share
    found: dict[str, Any] = {
        "rows": group.num_rows,
        "right": group.num_right,
        "failed": group.num_failed,
        "share": round(share.mean, 4),
        "low": round(share.low, 4),
        "high": round(share.high, 4),
    }
    for k in pass_at:
        passed = group.pass_at(k)
        found[f"pass@{k}"] = {
            "share": round(passed.mean, 4),
            "low": round(passed.low, 4),
            "high": round(passed.high, 4),
        }
    return found


def _tuples(cells: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(cells[name] or ()) for name in ("tags", "answers")}
