"""The scores on the screen."""

import io

from tests.jobs.evals.builders import scored
from worker.eval_tables import print_scores


def printed(rows: object, *pass_at: int) -> list[list[str]]:
    stream = io.StringIO()
    print_scores(rows, pass_at, stream)  # type: ignore[arg-type]
    return [line.split() for line in stream.getvalue().splitlines() if line.strip(" ─")]


def test_there_is_a_line_for_each_task_and_one_for_all() -> None:
    lines = printed(scored(a_1="yes", a_2="no", b_1="yes"))
    assert lines[0] == ["task", "right", "rows", "score", "95%", "interval"]
    assert lines[1][:4] == ["a", "1", "2", "50.0%"]
    assert lines[2][:4] == ["b", "1", "1", "100.0%"]
    assert lines[3][:4] == ["all", "2", "3", "66.7%"]


def test_one_task_needs_no_sum_and_samples_have_pass_at_k() -> None:
    lines = printed(scored(a_1=("yes", "no")), 1, 2)
    assert len(lines) == 2
    assert lines[0][-2:] == ["pass@1", "pass@2"]
    assert lines[1][-2:] == ["50.0%", "100.0%"]
