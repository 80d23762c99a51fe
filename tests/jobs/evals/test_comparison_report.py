"""A comparison's files."""

import json
from pathlib import Path

from jobs.evals.comparison import Comparison, compare_scores
from jobs.evals.comparison_report import notices, write_comparison
from jobs.evals.score_files import read_scores, write_scores
from tests.jobs.evals.builders import manifest, scored
from tests.jobs.evals.test_report import Page


def comparison(folder: Path) -> Comparison:
    a, b = (
        scored(a_1="yes", a_2="no", a_3="yes", b_1="<script>"),
        scored(a_1="yes", a_2="yes", b_1="no"),
    )
    sides = []
    for rows, print_ in ((a, {"fp_1": 4}), (b, {"fp_2": 2, "fp_3": 1})):
        write_scores(folder, rows)
        sides.append((manifest(rows, fingerprints=print_), read_scores(folder)))
    return compare_scores(sides[0], sides[1])


def test_every_form_says_the_same(tmp_path: Path) -> None:
    found = comparison(tmp_path)
    paths = write_comparison(tmp_path / "out", found, ("one", "two"))
    assert [path.name for path in paths] == [
        "comparison.md",
        "comparison.html",
        "comparison.json",
    ]
    markdown, page, content = (path.read_text() for path in paths)
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.loaded == ["data:,"]
    assert "<script>" not in page
    as_json = json.loads(content)
    assert as_json["sentence"] == found.sentence
    assert found.sentence in markdown
    assert "| a | 2 | 50.0% | 100.0% | +50.0 |" in markdown
    assert as_json["tasks"]["a"]["better"] == 1
    assert as_json["changed_rows"] == [{"custom_id": "a_2", "a": 0.0, "b": 1.0}]
    assert as_json["left_out"] == {"only_a": 1, "only_b": 0, "changed": 0}
    assert {"what": "engine fingerprint", "a": "fp_1", "b": "fp_2 and fp_3"} in as_json[
        "not_the_same"
    ]


def test_notices_come_before_the_numbers(tmp_path: Path) -> None:
    engine, mixed, left_out = notices(comparison(tmp_path))
    assert engine.startswith("The engine fingerprint is not the same")
    assert mixed == "The rows of B come from 2 different engines."
    assert left_out == "1 rows are in A only; they are left out."
