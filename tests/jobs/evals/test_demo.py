"""The held-out suite: it repeats, its references are right, other answers are wrong."""

import json

import pytest

from jobs.evals.answer import Answer
from jobs.evals.demo import TASKS, held_out_rows
from jobs.evals.rows import EvalRow
from jobs.evals.scoring import score
from schemas.chat import parse_chat_request

ROWS = list(held_out_rows(40, seed=11))


def reference_answer(row: EvalRow) -> Answer:
    calls = [call["function"] for call in row.reference.get("tool_calls", ())]
    said = [(call["name"], json.dumps(call["arguments"])) for call in calls]
    return Answer(row.reference["content"], said)


def test_the_same_seed_gives_the_same_rows() -> None:
    assert list(held_out_rows(40, seed=11)) == ROWS
    assert list(held_out_rows(40, seed=12)) != ROWS
    assert len({row.custom_id for row in ROWS}) == len(ROWS) == 40 * len(TASKS)


def test_every_row_is_a_request_that_is_accepted() -> None:
    for row in ROWS:
        parse_chat_request(row.body)


@pytest.mark.parametrize("task", TASKS)
def test_every_reference_is_right_and_another_rows_is_wrong(task: str) -> None:
    rows = [row for row in ROWS if row.task == task]
    assert all(score(row, reference_answer(row)).right for row in rows)
    others = [row for row in ROWS if row.task == ("single" if task == "no_call" else task)]
    wrong = [
        score(row, reference_answer(other)).right
        for row, other in zip(rows, others[1:] + others[:1], strict=True)
        if reference_answer(row) != reference_answer(other)
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
