"""ERNIE 4.5."""

from collections.abc import Sequence

import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases
from tests.engine.parsers.tools.markup_cases import assert_fast

WEATHER = call("get_weather", {"city": "Oslo"})
OSLO = ("get_weather", {"city": "Oslo"})


def wrap(calls: Sequence[str]) -> str:
    return "".join(f"<tool_call>\n{one}\n</tool_call>\n" for one in calls)


ONE = wrap([WEATHER])
CASES = [
    *standard_cases(wrap),
    Case("text before", f"I call it.\n</think>\n\n{ONE}", [OSLO], "I call it.\n</think>"),
    Case("spaces stay", f"I call it. \n{ONE}", [OSLO], "I call it. "),
    Case("text after", f"{ONE}Done.\n", [OSLO], "\nDone."),
    Case("no line breaks", ONE.replace("\n", ""), [OSLO]),
    Case("no closing tag", ONE.removesuffix("\n</tool_call>\n"), [OSLO]),
    Case(
        "a broken call keeps its neighbours",
        f"{ONE}<tool_call>\noops\n</tool_call>\n{ONE}",
        [OSLO, OSLO],
        "<tool_call>\noops\n</tool_call>",
        "JSON object",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_ernie45(case: Case) -> None:
    check("ernie45", case)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast("ernie45", "<tool_call>", "<tool_call>{", '<tool_call>{"')
