"""From verdicts to scores."""

import pytest

from jobs.evals.demo import TASKS, held_out_rows
from jobs.evals.results import RowResult
from jobs.evals.scores import GroupScore, group_scores, score_rows, tag_scores
from tests.jobs.evals.builders import row, said, scored
from tests.jobs.evals.test_demo import reference_answer


def test_a_row_without_a_result_is_wrong() -> None:
    rows = list(held_out_rows(10, seed=3))
    results = {
        each.custom_id: RowResult(answers=(reference_answer(each),))
        for each in rows
        if each.custom_id[-2:] != "-0"
    }
    found = group_scores(score_rows(rows, results))
    assert [group.name for group in found] == list(TASKS)
    assert {(group.num_right, group.num_rows, group.num_failed) for group in found} == {(9, 10, 1)}
    assert found[0].share.mean == pytest.approx(0.9)
    assert found[0].share.low < 0.9 < found[0].share.high
    assert found[0].rows[0].reason == "no result"


def test_samples_share_a_rows_score() -> None:
    half, all_, none, failed = scored(
        a=("yes", "no", "yes", "no"), b=("yes",) * 4, c=("no",) * 4, d=RowResult(error="too long")
    )
    assert [entry.score for entry in (half, all_, none, failed)] == [0.5, 1, 0, 0]
    group = GroupScore("all", (half, all_, none, failed))
    assert (group.num_right, group.num_failed) == (1, 1)
    assert group.share.mean == pytest.approx(0.375)
    assert half.pass_at(2) == pytest.approx(5 / 6)
    assert group.pass_at(2).mean == pytest.approx((5 / 6 + 1) / 4)
    assert failed.pass_at(4) == 0.0
    assert half.shown is not None
    assert half.shown.content == "no"
    assert failed.shown is None


def test_a_greedy_row_is_the_same_in_every_sample() -> None:
    (entry,) = scored(a="yes")
    assert entry.pass_at(4) == 1.0


def test_tags_are_groups_of_their_own() -> None:
    rows = [
        row(id="a", target="yes", tags=["z", "long"]),
        row(id="b", target="yes", tags=["z"]),
        row(id="c", target="yes"),
    ]
    found = tag_scores(score_rows(rows, {"a": said("yes"), "b": said("no"), "c": said("no")}))
    assert [(group.name, group.num_right, group.num_rows) for group in found] == [
        ("long", 1, 1),
        ("z", 1, 2),
    ]
