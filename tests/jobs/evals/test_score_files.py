"""The files of scores."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.errors import InputError
from jobs.evals.answer import Answer, ChoiceScore
from jobs.evals.results import RowResult
from jobs.evals.score_files import as_text, expected_text, read_scores, write_scores
from jobs.evals.scores import score_rows
from tests.jobs.evals.builders import row, scored


def test_scores_are_written_per_row_and_per_task(tmp_path: Path) -> None:
    rows = scored(a_1="yes", a_2=("no", "yes"), b_1=RowResult(error="too long"))
    rows_path, groups_path = write_scores(tmp_path, rows, (1, 2))
    table = pq.read_table(rows_path).to_pylist()
    assert [entry["right"] for entry in table] == [True, False, False]
    assert [entry["score"] for entry in table] == [1.0, 0.5, 0.0]
    assert table[1]["reason"] == "wrong text"
    assert table[1]["answers"] == ["no", "yes"]
    assert table[2]["reason"] == "too long"
    groups = json.loads(groups_path.read_text())
    assert groups["tasks"]["a"]["share"] == 0.75
    assert groups["tasks"]["a"]["pass@2"]["share"] == 1.0
    assert groups["overall"]["failed"] == 1


def test_scores_are_read_back(tmp_path: Path) -> None:
    rows = scored(a_1="yes", a_2=("no", "yes"))
    write_scores(tmp_path, rows)
    first, second = read_scores(tmp_path)
    assert (first.custom_id, first.task, first.score, first.answers) == ("a_1", "a", 1.0, ("yes",))
    assert (second.samples, second.samples_right, second.expected) == (2, 1, "yes")
    assert first.row_hash == rows[0].row.digest


def test_a_folder_without_scores_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no evaluation"):
        read_scores(tmp_path)


def test_answers_and_references_are_readable() -> None:
    assert as_text(Answer("x", [("go", "{}")])) == "x\ngo({})"
    assert as_text(Answer(calls=[("go", "{}")])) == "go({})"
    assert as_text(Answer(choices=[ChoiceScore(-1.23456, 1)])) == "[-1.2346]"
    assert expected_text({"choices": ["x", "y"], "answer": 1}) == "1: y"
    assert expected_text({"targets": ["x", "y"]}) == "x | y"
    assert expected_text({"number": 3}) == "3"
    assert expected_text({"schema": {"type": "array"}}) == '{"type": "array"}'
    assert expected_text({"tool_calls": [{"function": {"name": "go"}}]}) == '[{"name": "go"}]'
    assert expected_text({}) == ""


def test_every_text_can_be_written(tmp_path: Path) -> None:
    rows = [row(id="a", input="😀 \x00", target="yes")]
    write_scores(tmp_path, score_rows(rows, {}))
    assert read_scores(tmp_path)[0].question == "😀 \x00"
