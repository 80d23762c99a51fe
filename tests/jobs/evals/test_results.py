"""Answers out of result files."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from jobs.evals.answer import Answer, ChoiceScore
from jobs.evals.results import read_results
from jobs.result_table import rows_to_table
from schemas.result import ResultRow


def write(path: Path, *rows: ResultRow) -> Path:
    pq.write_table(rows_to_table(rows), path)
    return path


def row(name: str, **cells: Any) -> ResultRow:
    return ResultRow(idx=0, custom_id=name, status_code=cells.pop("status_code", 200), **cells)


def test_one_answer_comes_from_the_columns(tmp_path: Path) -> None:
    good = row("a", content="x", fingerprint="f", completion_tokens=4, request_hash="h")
    bad = row("b", status_code=400, error_message="no good")
    found = read_results([write(tmp_path / "1", good), write(tmp_path / "2", bad)])
    assert found["a"].answers == (Answer("x", []),)
    assert (found["a"].fingerprint, found["a"].completion_tokens) == ("f", 4)
    assert found["a"].request_hash == "h"
    assert (found["b"].answers, found["b"].error) == ((), "no good")


def test_several_answers_come_from_the_response(tmp_path: Path) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "go", "arguments": "{}"}}
    choices = [
        {"index": 1, "message": {"content": None, "tool_calls": [call]}},
        {"index": 0, "message": {"content": "x"}},
    ]
    response = json.dumps({"choices": choices})
    found = read_results([write(tmp_path / "1", row("a", content="x", response_json=response))])
    assert found["a"].answers == (Answer("x", []), Answer("", [("go", "{}")]))


def test_texts_of_completions_are_answers_too(tmp_path: Path) -> None:
    response = json.dumps({"choices": [{"index": n, "text": str(n)} for n in range(2)]})
    found = read_results([write(tmp_path / "1", row("a", response_json=response))])
    assert found["a"].answers == (Answer("0"), Answer("1"))


def choice(index: int, text: str, offsets: list[int], logprobs: list[float | None]) -> Any:
    return {
        "index": index,
        "text": text,
        "logprobs": {"text_offset": offsets, "token_logprobs": logprobs},
    }


def test_endings_are_scored_from_where_the_prompt_ends(tmp_path: Path) -> None:
    choices = [
        choice(0, "Q: a bc", [0, 1, 2, 4], [None, -1.0, -2.0, -4.0]),  # " a" ends at 4
        choice(1, "Q: xyz", [0, 2, 4], [None, -8.0, -16.0]),  # " x" begins where the prompt ends
        choice(2, "Q:-", [0, 1], [None, -32.0]),  # one token straddles the prompt's end
    ]
    response = json.dumps({"choices": choices})
    path = write(tmp_path / "1", row("a", response_json=response))
    (answer,) = read_results([path], {"a": "Q:"})["a"].answers
    assert answer.choices == [ChoiceScore(-6.0, 2), ChoiceScore(-24.0, 2), ChoiceScore(-32.0, 1)]


def test_a_first_token_has_no_probability(tmp_path: Path) -> None:
    response = json.dumps({"choices": [choice(0, "ab", [0, 1], [None, -1.0])]})
    path = write(tmp_path / "1", row("a", response_json=response))
    (answer,) = read_results([path], {"a": ""})["a"].answers
    assert answer.choices == [ChoiceScore(-1.0, 1)]
