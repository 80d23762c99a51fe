"""Suite files: read back as written, defaults, and lines that are no rows."""

import json
from pathlib import Path

import pytest

from jobs.errors import InputError
from jobs.evals.demo import held_out_rows
from jobs.evals.rows import Scorer, read_rows, suite_line, write_requests

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOLS = [{"type": "function", "function": {"name": "go"}}]


def write(path: Path, *entries: object) -> Path:
    path.write_text("\n".join(e if isinstance(e, str) else json.dumps(e) for e in entries))
    return path


def test_a_suite_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    rows = list(held_out_rows(3))
    path = write(tmp_path / "s.jsonl", *[suite_line(row) for row in rows], "")
    assert list(read_rows(path)) == rows


def test_the_reference_decides_the_scorer_unless_told(tmp_path: Path) -> None:
    call = {"function": {"name": "go", "arguments": {}}}
    path = write(
        tmp_path / "s.jsonl",
        {"custom_id": "1", "body": BODY, "reference": {"content": "x"}},
        {"custom_id": "2", "body": BODY, "reference": {"content": "", "tool_calls": [call]}},
        {"custom_id": "3", "body": {**BODY, "tools": TOOLS}},
        {"custom_id": "4", "body": BODY, "reference": {"content": "1"}, "scorer": "json"},
    )
    found = [row.scorer for row in read_rows(path)]
    assert found == [Scorer.TEXT, Scorer.CALLS, Scorer.VALID_CALLS, Scorer.JSON]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{", "no row"),
        ("[]", "no row"),
        ({"custom_id": "1", "reference": {"content": "x"}}, "'body' is missing"),
        ({"custom_id": 1, "body": BODY, "reference": {"content": "x"}}, "1 should be a string"),
        ({"custom_id": "1", "body": BODY}, "neither a reference nor tools"),
        ({"custom_id": "1", "body": BODY, "scorer": "vibes"}, "'vibes' is not a valid Scorer"),
    ],
)
def test_a_line_that_is_no_row_is_named(tmp_path: Path, entry: object, said: str) -> None:
    good = {"custom_id": "1", "body": BODY, "reference": {"content": "x"}}
    path = write(tmp_path / "s.jsonl", good, entry)
    with pytest.raises(InputError, match=f"line 2.*{said}"):
        list(read_rows(path))


def test_a_suite_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.jsonl"):
        list(read_rows(tmp_path / "nothing.jsonl"))


def test_requests_hold_nothing_but_the_batch_line(tmp_path: Path) -> None:
    rows = list(held_out_rows(1))
    write_requests(rows, tmp_path / "r.jsonl", model="other")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"custom_id", "method", "url", "body"}] * len(rows)
    assert {line["body"]["model"] for line in lines} == {"other"}
    assert rows[0].body["model"] == "demo"
