"""A comparison on the screen."""

import io
from pathlib import Path

from tests.jobs.evals.test_comparison import compared
from worker.eval_compare import print_comparison


def printed(folder: Path, num_rows: int) -> str:
    before = {"a_1": "yes", "a_2": "no", "b_1": "no", "b_2": "[red]no"}
    after = {"a_1": "no", "a_2": "yes", "b_1": "yes", "b_2": "[red]no"}
    stream = io.StringIO()
    print_comparison(compared(folder, before, after), num_rows=num_rows, stream=stream)
    return stream.getvalue()


def test_it_prints_tasks_the_result_and_the_rows_that_changed(tmp_path: Path) -> None:
    text = printed(tmp_path, 20)
    cells = [line.split() for line in text.splitlines()]
    assert ["a", "2", "50.0%", "50.0%", "+0.0", "-100.0,", "+100.0", "1", "1", "1"] in cells
    assert "B scores 25.0 points higher" in text
    assert text.index("a_1 (a): 100% -> 0%") < text.index("a_2 (a): 0% -> 100%")
    assert "b_2" not in text
    assert "more rows changed" not in text


def test_long_lists_are_cut(tmp_path: Path) -> None:
    text = printed(tmp_path, 1)
    assert "a_1 (a)" in text
    assert "2 more rows changed." in text
