"""From result rows to scores: a verdict per row, accuracy per task with its interval.

Owns: reading answers out of results, the scores' files. Must not know: how rows are run, screens.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.evals.rows import EvalRow
from jobs.evals.scoring import Answer, Verdict, interval, score

__all__ = ["ScoredRow", "TaskScore", "read_answers", "score_rows", "task_scores", "write_scores"]

_COLUMNS = ["custom_id", "status_code", "content", "tool_calls", "error_message"]
_TYPES: dict[str, pa.DataType] = {
    "custom_id": pa.string(),
    "task": pa.string(),
    "right": pa.bool_(),
    "reason": pa.string(),
    "content": pa.string(),
    "tool_calls": pa.string(),
}


@dataclass(slots=True, frozen=True)
class ScoredRow:
    """A row, what the model said (None if the row failed) and the verdict on it."""

    row: EvalRow
    answer: Answer | None
    verdict: Verdict


@dataclass(slots=True, frozen=True)
class TaskScore:
    """Rows right of all rows of a task."""

    task: str
    num_right: int
    num_rows: int

    @property
    def share(self) -> float:
        """Share of right rows, 0..1."""
        return self.num_right / self.num_rows if self.num_rows else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share."""
        return interval(self.num_right, self.num_rows)


def read_answers(files: Iterable[Path]) -> dict[str, Answer | str]:
    """By custom_id: the answer of each 200 row in Parquet result files, the message of others."""
    found: dict[str, Answer | str] = {}
    for path in files:
        for entry in pq.read_table(path, columns=_COLUMNS).to_pylist():
            if entry["status_code"] == 200:
                calls = [(call["name"], call["arguments"]) for call in entry["tool_calls"] or ()]
                found[entry["custom_id"]] = Answer(entry["content"] or "", calls)
            else:
                found[entry["custom_id"]] = entry["error_message"] or "failed"
    return found


def score_rows(rows: Iterable[EvalRow], answers: Mapping[str, Answer | str]) -> list[ScoredRow]:
    """A verdict for every row, in the rows' order; a row without an answer is wrong."""
    scored = []
    for row in rows:
        found = answers.get(row.custom_id, "no result")
        if isinstance(found, str):
            scored.append(ScoredRow(row, None, Verdict(right=False, reason=found)))
        else:
            scored.append(ScoredRow(row, found, score(row, found)))
    return scored


def task_scores(scored: Iterable[ScoredRow]) -> list[TaskScore]:
    """One score per task, in the order of first appearance."""
    counted: dict[str, list[int]] = {}
    for entry in scored:
        count = counted.setdefault(entry.row.task, [0, 0])
        count[0] += entry.verdict.right
        count[1] += 1
    return [TaskScore(task, right, total) for task, (right, total) in counted.items()]


def write_scores(folder: Path, scored: Sequence[ScoredRow]) -> tuple[Path, Path]:
    """Write `scores.parquet` (a verdict per row) and `scores.json` (per task) into `folder`."""
    table = pa.Table.from_pylist([_entry(each) for each in scored], pa.schema(_TYPES))
    rows_path, tasks_path = folder / "scores.parquet", folder / "scores.json"
    pq.write_table(table, rows_path, compression="zstd")
    tasks = {
        found.task: {
            "right": found.num_right,
            "rows": found.num_rows,
            "share": round(found.share, 4),
            "low": round(found.bounds[0], 4),
            "high": round(found.bounds[1], 4),
        }
        for found in task_scores(scored)
    }
    tasks_path.write_text(json.dumps(tasks, indent=2) + "\n", encoding="utf-8")
    return rows_path, tasks_path


def _entry(scored: ScoredRow) -> dict[str, Any]:
    answer = scored.answer
    return {
        "custom_id": scored.row.custom_id,
        "task": scored.row.task,
        "right": scored.verdict.right,
        "reason": scored.verdict.reason or None,
        "content": answer.content if answer is not None else None,
        "tool_calls": json.dumps(list(answer.calls), ensure_ascii=False) if answer else None,
    }
