"""Rows: what identifies them, and the files they become."""

import json
from dataclasses import replace
from pathlib import Path

from jobs.evals.demo import held_out_rows
from jobs.evals.rows import Scorer, suite_line, write_requests
from jobs.evals.suite import read_suite
from tests.jobs.evals.builders import row

TOOLS = [{"type": "function", "function": {"name": "go"}}]


def test_a_suite_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    rows = [
        *held_out_rows(3),
        row(id="n", target=3, scorer={"type": "numeric", "tolerance": 1}, tags=["a", "b"]),
        row(id="r", target=["a", "b+"], scorer={"type": "regex", "full": True}),
        row(id="c", prompt="one", choices=[" a", " b"], target=1),
        row(id="s", target={"type": "object"}, scorer="json_schema"),
    ]
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(suite_line(each) for each in rows) + "\n\n")
    assert list(read_suite(path).rows) == rows


def test_requests_hold_nothing_but_the_batch_line(tmp_path: Path) -> None:
    rows = list(held_out_rows(1))
    write_requests(rows, tmp_path / "r.jsonl", model="other")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"custom_id", "method", "url", "body"}] * len(rows)
    assert {line["body"]["model"] for line in lines} == {"other"}
    assert rows[0].body["model"] == "demo"


def test_a_row_is_identified_by_what_decides_its_verdict() -> None:
    one = row(id="a", input="hi", target="x")
    assert replace(one, custom_id="b", tags=("t",)).digest == one.digest
    others = [
        replace(one, scorer=Scorer.NORMALISED),
        replace(one, reference={"targets": ["y"]}),
        row(id="a", input="ho", target="x"),
        row(id="a", input="hi", target="x", scorer={"type": "exact", "ignore_case": True}),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 5


def test_the_question_is_what_people_would_read() -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    assert row(messages=messages, target="x").question == "hi"
    assert row(prompt="so", choices=[" a", " b"], target=0).question == "so"
