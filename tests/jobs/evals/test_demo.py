"""The held-out suite: it repeats, its references score as right, other answers as wrong."""

import json

import pytest

from jobs.evals.demo import TASKS, held_out_rows, score
from jobs.evals.demo.report import scores
from jobs.evals.demo.scoring import interval, parse_calls
from jobs.evals.demo.suite import HeldOutRow

ROWS = list(held_out_rows(40, seed=11))


def _as_text(row: HeldOutRow) -> str:
    calls = row.reference.get("tool_calls", ())
    return row.reference["content"] + "\n".join(
        f"<tool_call>\n{json.dumps(call['function'])}\n</tool_call>" for call in calls
    )


def test_the_same_seed_gives_the_same_rows() -> None:
    assert list(held_out_rows(40, seed=11)) == ROWS
    assert list(held_out_rows(40, seed=12)) != ROWS
    assert len({row.custom_id for row in ROWS}) == len(ROWS) == 40 * len(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_every_reference_is_right_and_another_rows_is_wrong(task: str) -> None:
    rows = [row for row in ROWS if row.task == task]
    assert all(score(row, _as_text(row)).right for row in rows)
    others = [row for row in ROWS if row.task == ("single" if task == "no_call" else task)]
    wrong = [
        score(row, _as_text(other)).right
        for row, other in zip(rows, others[1:] + others[:1], strict=True)
        if _as_text(row) != _as_text(other)
    ]
    assert wrong
    assert not any(wrong)


def test_every_argument_stands_in_the_question() -> None:
    for row in ROWS:
        if row.task == "single":
            question = row.body["messages"][-1]["content"]
            call = row.reference["tool_calls"][0]["function"]
            for value in call["arguments"].values():
                if isinstance(value, str | int | float) and not isinstance(value, bool):
                    assert str(value) in question


def test_called_tools_are_offered_and_no_call_rows_offer_none_that_fits() -> None:
    for row in ROWS:
        offered = {tool["function"]["name"] for tool in row.body.get("tools", ())}
        called = {call["function"]["name"] for call in row.reference.get("tool_calls", ())}
        assert called <= offered
        assert len(offered) == len(row.body.get("tools", ()))


def test_reasoning_is_not_part_of_the_answer() -> None:
    row = next(row for row in ROWS if row.task == "arithmetic_thinking")
    assert score(row, f"<think>\n1 + 1\n</think>\n\n{row.reference['content']}").right
    assert not score(row, f"<think>\n{row.reference['content']}\n</think>\n\nno").right


def test_calls_are_compared_as_json() -> None:
    row = next(row for row in ROWS if row.task == "single")
    call = row.reference["tool_calls"][0]["function"]
    turned = {"arguments": dict(reversed(call["arguments"].items())), "name": call["name"]}
    assert score(row, f"<tool_call>{json.dumps(turned)}</tool_call>").right
    assert score(row, "", [turned]).right
    changed = {**call, "arguments": {**call["arguments"], "extra": 1}}
    assert score(row, "", [changed]).reason == "wrong arguments"
    assert score(row, "", [{**call, "name": "other"}]).reason == "wrong tool"
    assert score(row, "", []).reason == "0 calls, expected 1"


@pytest.mark.parametrize(
    "text", ["<tool_call>{</tool_call>", "<tool_call>1</tool_call>", "<tool_call>"]
)
def test_a_malformed_call_is_no_answer(text: str) -> None:
    assert parse_calls(text) is None
    assert not any(score(row, text).right for row in ROWS)


def test_report_counts_missing_answers_as_wrong() -> None:
    texts = {row.custom_id: _as_text(row) for row in ROWS if not row.custom_id.endswith("-0")}
    found = scores(ROWS, texts)
    assert [entry.task for entry in found] == list(TASKS)
    assert {entry.num_right for entry in found} == {39}
    assert found[0].share == pytest.approx(39 / 40)


def test_interval_is_wilsons() -> None:
    low, high = interval(95, 100)
    assert (low, high) == pytest.approx((0.8882, 0.9785), abs=1e-3)
    assert interval(0, 0) == (0.0, 1.0)
