"""The table of scorers."""

from typing import Any

import pytest

from jobs.evals.answer import Answer, ChoiceScore, Verdict
from jobs.evals.rows import EvalRow, Scorer
from jobs.evals.scoring import check_row, score
from tests.jobs.evals.builders import row


def tool(parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "go", "parameters": parameters}}


TOOLS = [{"type": "function", "function": {"name": "go"}}]
CALL = {"name": "go", "arguments": {"n": 1}}
RIGHT: list[tuple[EvalRow, Answer]] = [
    (row(target="x", scorer="exact"), Answer("x")),
    (row(target="x", scorer="text"), Answer(" x.")),
    (row(target="x", scorer="normalised"), Answer("The X!")),
    (row(target="x+", scorer="regex"), Answer("axxa")),
    (row(target=3, scorer="numeric"), Answer("It is 3.")),
    (row(target={"a": 1}, scorer="json"), Answer('{"a": 1.0}')),
    (row(target={"type": "array"}, scorer="json_schema"), Answer("[]")),
    (row(target=CALL, scorer="calls"), Answer(calls=[("go", '{"n": 1}')])),
    (row(scorer="no_call"), Answer("no")),
    (row(scorer="valid_calls", request={"tools": TOOLS}), Answer(calls=[("go", "{}")])),
    (
        row(prompt="a", choices=["b", "c"], target=1),
        Answer(choices=[ChoiceScore(-2, 1), ChoiceScore(-1, 1)]),
    ),
]


def test_every_scorer_has_a_right_and_a_wrong_answer() -> None:
    assert {each.scorer for each, _ in RIGHT} == set(Scorer)
    for each, answer in RIGHT:
        assert score(each, answer) == Verdict(right=True)
        wrong = score(each, Answer())
        assert not wrong.right
        assert wrong.reason


def test_an_option_of_another_scorer_is_refused() -> None:
    with pytest.raises(ValueError, match="the scorer no_call has no option 'full'; it has none"):
        check_row(row(scorer={"type": "no_call", "full": True}))


NESTED = {"type": "object", "properties": {"x": {"$ref": "#"}}}
DEEP = '{"x": ' * 4000 + "{}" + "}" * 4000


@pytest.mark.parametrize(
    ("asked", "answer", "reason"),
    [
        (row(target=3, scorer="numeric"), Answer("1e9999999"), "not a number"),
        (
            row(
                scorer="valid_calls",
                request={"tools": [tool({"properties": {"x": {"type": "float"}}})]},
            ),
            Answer(calls=[("go", '{"x": 1}')]),
            "unknown type 'float'",
        ),
        (row(target=CALL, scorer="calls"), Answer(calls=[("go", DEEP)]), "nested too deeply"),
        (
            row(scorer="valid_calls", request={"tools": [tool(NESTED)]}),
            Answer(calls=[("go", DEEP)]),
            "nested too deeply",
        ),
    ],
)
def test_no_answer_ends_the_evaluation(asked: EvalRow, answer: Answer, reason: str) -> None:
    check_row(asked)
    verdict = score(asked, answer)
    assert not verdict.right
    assert reason in verdict.reason
