"""From result files to scores."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.evals.demo import TASKS, held_out_rows
from jobs.evals.report import read_answers, score_rows, task_scores, write_scores
from jobs.evals.scoring import Answer
from jobs.result_table import rows_to_table
from schemas.result import ResultRow
from tests.jobs.evals.test_demo import reference_answer

ROWS = list(held_out_rows(10, seed=3))


def test_a_row_without_a_result_is_wrong() -> None:
    answers = {row.custom_id: reference_answer(row) for row in ROWS if row.custom_id[-2:] != "-0"}
    found = task_scores(score_rows(ROWS, answers))
    assert [entry.task for entry in found] == list(TASKS)
    assert {(entry.num_right, entry.num_rows) for entry in found} == {(9, 10)}
    assert found[0].share == pytest.approx(0.9)


def test_answers_come_from_result_files(tmp_path: Path) -> None:
    good = ResultRow(idx=0, custom_id="a", status_code=200, content="x", tool_calls=None, attempt=1)
    bad = ResultRow(idx=1, custom_id="b", status_code=400, error_message="no good", attempt=1)
    pq.write_table(rows_to_table([good, bad]), tmp_path / "r.parquet")
    assert read_answers([tmp_path / "r.parquet"]) == {"a": Answer("x", []), "b": "no good"}


def test_scores_are_written_per_row_and_per_task(tmp_path: Path) -> None:
    answers = {row.custom_id: reference_answer(row) for row in ROWS}
    answers["single-1"] = Answer("nothing")
    rows_path, tasks_path = write_scores(tmp_path, score_rows(ROWS, answers))
    table = pq.read_table(rows_path).to_pylist()
    assert [row["custom_id"] for row in table if not row["right"]] == ["single-1"]
    assert table[1]["reason"] == "0 calls, expected 1"
    tasks = json.loads(tasks_path.read_text())
    assert tasks["single"]["share"] == 0.9
    assert tasks["single"]["low"] < 0.9 < tasks["single"]["high"]
