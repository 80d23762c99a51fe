"""Suite files."""

import json
from pathlib import Path

import pytest

from jobs.errors import InputError
from jobs.evals.rows import Scorer
from jobs.evals.suite import read_suite

ROWS = [{"id": "a", "input": "1 + 1?", "target": 2}, {"id": "b", "input": "2 + 2?", "target": 4}]


def write(folder: Path, text: str, *rows: object) -> Path:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in rows or ROWS]
    (folder / "sums.jsonl").write_text("\n".join(lines))
    path = folder / "sums.yaml"
    path.write_text(text)
    return path


def test_a_short_file_says_what_rows_have_in_common(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "name: little sums\nscorer: {type: numeric, which: first}\nsamples: 5\npass_at: [5, 1]\n"
        "request: {temperature: 1, max_tokens: 8}\nsystem: Count.\ntags: [sums]\n",
    )
    suite = read_suite(path)
    assert (suite.name, suite.samples, suite.pass_at) == ("little sums", 5, (1, 5))
    assert [row.custom_id for row in suite.rows] == ["a", "b"]
    first = suite.rows[0]
    assert (first.task, first.scorer, first.tags) == ("little sums", Scorer.NUMERIC, ("sums",))
    assert first.options.which == "first"
    assert first.body["max_tokens"] == 8
    assert first.body["messages"][0] == {"role": "system", "content": "Count."}


def test_rows_of_another_shape_are_mapped(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'fields: {prompt: "Q: {{ q }}\\nA:", choices: o, target: r, tags: [kind]}\n',
        {"q": "Which?", "o": [" x", " y"], "r": 1, "kind": "easy", "else": None},
    )
    (row,) = read_suite(path).rows
    assert row.body["prompt"] == ["Q: Which?\nA: x", "Q: Which?\nA: y"]
    assert row.tags == ("kind=easy",)


def test_a_suite_is_identified_by_its_rows(tmp_path: Path) -> None:
    digest = read_suite(write(tmp_path, "name: a\ntask: t\n")).digest
    assert read_suite(write(tmp_path, "task: t\nname: other\n")).digest == digest
    assert read_suite(write(tmp_path, "name: a\ntask: other\n")).digest != digest
    assert read_suite(write(tmp_path, "name: a\ntask: t\n", *reversed(ROWS))).digest != digest


@pytest.mark.parametrize(
    ("text", "rows", "said"),
    [
        ("[1]", (), "should be a mapping"),
        ("a: [", (), "it is no YAML"),
        ("rowz: x", (), r"'rowz' is 'x': extra inputs are not permitted"),
        ("samples: 0", (), "'samples' is 0"),
        ("pass_at: [2]", (), "'pass_at' has 2, but 'samples' is 1"),
        ("scorer: vibes", (), "the scorer 'vibes' is unknown"),
        ("fields: {x: y}", (), "'fields.x' is unknown"),
        ("rows: nothing.jsonl", (), r"nothing\.jsonl cannot be read"),
        ("name: a", ("{",), "line 1 is no row"),
        ("name: a", (ROWS[0], "", ROWS[0]), "two rows with the id 'a'"),
        ("name: a", ("",), "has no rows"),
        ("name: a", (ROWS[0], {"input": "x"}), r"sums\.jsonl, line 2 is no row of a suite"),
        (
            "fields: {input: q, target: a}",
            ("3",),
            "line 1 is no row of a suite: expected an object",
        ),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, text: str, rows: tuple[object, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_suite(write(tmp_path, text, *rows))
