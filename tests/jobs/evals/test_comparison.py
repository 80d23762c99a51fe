"""Two evaluations, row by row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import InputError
from jobs.evals.comparison import Comparison, compare_scores
from jobs.evals.score_files import ScoreLine, read_scores, write_scores
from jobs.evals.scores import ScoredRow
from tests.jobs.evals.builders import manifest, scored


def lines(folder: Path, rows: list[ScoredRow]) -> list[ScoreLine]:
    write_scores(folder, rows)
    return read_scores(folder)


def compared(folder: Path, before: dict[str, Any], after: dict[str, Any]) -> Comparison:
    a, b = scored(**before), scored(**after)
    return compare_scores((manifest(a), lines(folder, a)), (manifest(b), lines(folder, b)))


def test_rows_are_paired_and_tested(tmp_path: Path) -> None:
    names = [f"t_{n}" for n in range(12)]
    found = compared(
        tmp_path,
        {name: "yes" if n < 3 else "no" for n, name in enumerate(names)},
        {name: "no" if n < 1 else "yes" for n, name in enumerate(names)},
    )
    whole = found.whole
    assert (whole.before, whole.after) == (0.25, pytest.approx(11 / 12))
    assert (whole.num_better, whole.num_worse) == (9, 1)
    assert whole.test == "McNemar, exact"
    assert whole.p == pytest.approx(0.021484375)
    assert [row.before.custom_id for row in found.changed][:2] == ["t_0", "t_3"]
    assert found.sentence.startswith("B scores 66.7 points higher")
    assert found.sentence.endswith("more than chance alone does.")


def test_shares_of_samples_are_tested_by_the_bootstrap(tmp_path: Path) -> None:
    found = compared(
        tmp_path,
        {"a": ("yes", "no"), "b": ("no", "no"), "c": ("no", "no")},
        {"a": ("yes", "yes"), "b": ("yes", "no"), "c": ("no", "no")},
    )
    assert found.whole.test == "paired bootstrap"
    assert found.whole.difference.mean == pytest.approx(1 / 3)
    assert found.sentence.endswith("cannot tell them apart.")


def test_rows_that_are_not_the_same_are_left_out(tmp_path: Path) -> None:
    a, b = scored(x="yes", y="yes", z="yes"), scored(x="yes", y="no", w="yes")
    later = [
        replace(line, row_hash="other") if line.custom_id == "y" else line
        for line in lines(tmp_path, b)
    ]
    found = compare_scores((manifest(a), lines(tmp_path, a)), (manifest(b), later))
    assert found.whole.num_rows == 1
    assert (found.num_only_before, found.num_only_after, found.num_changed_rows) == (1, 1, 1)


def test_the_same_answers_are_said_to_be_the_same(tmp_path: Path) -> None:
    rows = {"a": "yes", "b": "no"}
    assert compared(tmp_path, rows, rows).sentence == "All 2 rows have the same answers."
    other = compared(tmp_path, rows, {"a": "yes", "b": "nope"})
    assert other.sentence == "All 2 rows have the same score, with other answers."
    assert other.num_same_answers == 1


def test_another_engine_is_noticed() -> None:
    rows = scored(a="yes")
    before, after = manifest(rows), manifest(rows, fingerprints={"fp_2": 1})
    line = ScoreLine("a", "t", (), 1.0, 1, 1, "", "?", "yes", ("yes",), "h")
    found = compare_scores((before, [line]), (after, [line]))
    assert found.is_other_engine
    assert [change.what for change in found.changes] == ["engine fingerprint"]


def test_tasks_and_tags_are_compared_alone(tmp_path: Path) -> None:
    found = compared(tmp_path, {"a_1": "yes", "b_1": "no"}, {"a_1": "no", "b_1": "yes"})
    assert [(group.name, group.num_better, group.num_worse) for group in found.tasks] == [
        ("a", 0, 1),
        ("b", 1, 0),
    ]


def test_suites_without_a_common_row_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row in common"):
        compared(tmp_path, {"a": "yes"}, {"b": "yes"})
