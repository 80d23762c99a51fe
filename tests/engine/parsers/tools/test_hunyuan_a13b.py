"""Hunyuan A13B."""

from collections.abc import Sequence

import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases
from tests.engine.parsers.tools.markup_cases import assert_fast

WEATHER = call("get_weather", {"city": "Oslo"})
OSLO = ("get_weather", {"city": "Oslo"})


def wrap(calls: Sequence[str]) -> str:
    return f"<tool_calls>[{', '.join(calls)}]</tool_calls>"


ONE = wrap([WEATHER])
CASES = [
    *standard_cases(wrap),
    Case("text before", f"I call it now. {ONE}", [OSLO], "I call it now. "),
    Case("text after", f"{ONE}\nThank you!", [OSLO], "\nThank you!"),
    Case("two blocks", f"{ONE} and {ONE}", [OSLO, OSLO], " and "),
    Case("white space inside", f"<tool_calls>\n[ {WEATHER} ]\n</tool_calls>", [OSLO]),
    Case("one call, not in a list", f"<tool_calls>{WEATHER}</tool_calls>", [OSLO]),
    Case("no closing tag", ONE.removesuffix("</tool_calls>"), [OSLO]),
    Case(
        "tags inside a string",
        wrap([call("save", {"t": "<tool_calls>[]</tool_calls>"})]),
        [("save", {"t": "<tool_calls>[]</tool_calls>"})],
    ),
    Case(
        "a call in the thoughts",
        f"<think>Perhaps {wrap([call('refresh', {})])}?</think> So {ONE}",
        [OSLO],
        f"<think>Perhaps {wrap([call('refresh', {})])}?</think> So ",
    ),
    Case("thoughts without an end", f"<think>{ONE}", (), f"<think>{ONE}"),
    Case(
        "a broken item keeps its neighbours",
        wrap([WEATHER, '{"name": 1}', WEATHER]),
        [OSLO, OSLO],
        '{"name": 1}',
        "no name",
    ),
    Case(
        "a cut off item keeps its neighbours",
        f"<tool_calls>[{WEATHER}, {WEATHER[:-10]}",
        [OSLO],
        WEATHER[:-10],
        "not valid JSON",
    ),
    Case(
        "a broken block keeps its neighbours",
        f"<tool_calls>oops</tool_calls>{ONE}",
        [OSLO],
        "<tool_calls>oops</tool_calls>",
        "JSON object",
    ),
    Case("an empty list", wrap([]), (), wrap([]), "an empty list"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_hunyuan_a13b(case: Case) -> None:
    check("hunyuan_a13b", case)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast("hunyuan_a13b", "<tool_calls>", "<tool_calls>[{", '<tool_calls>{"', "<think>")
