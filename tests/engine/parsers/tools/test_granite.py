from collections.abc import Sequence

import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases

WEATHER = call("get_weather", {"city": "Tokyo"})
TOKYO = ("get_weather", {"city": "Tokyo"})


def tokens(calls: Sequence[str]) -> str:
    return f"<|tool_call|> [{', '.join(calls)}]"


CASES = [
    *standard_cases(tokens),
    Case("the text of 3.1", f"<tool_call> [{WEATHER}]", [TOKYO]),
    Case("a bare list", f"[{WEATHER}]", [TOKYO]),
    Case("an object without its list", f"<|tool_call|>{WEATHER}", [TOKYO]),
    Case("text before", f"Let me see.\n<|tool_call|>[{WEATHER}]", [TOKYO], "Let me see.\n"),
    Case("text after", f"<|tool_call|>[{WEATHER}]\nDone.", [TOKYO], "\nDone."),
    Case("closing tag", f"<tool_call>[{WEATHER}]</tool_call>", [TOKYO]),
    Case("a list that is an answer", "[1, 2]", (), "[1, 2]"),
    Case("a list of other objects", '[{"a": 1}]', (), '[{"a": 1}]'),
    Case("a list in the middle", f"so: [{WEATHER}]", (), f"so: [{WEATHER}]"),
    Case(
        "the second is cut off",
        f'<|tool_call|>[{WEATHER}, {{"name": "get_t',
        [TOKYO],
        '{"name": "get_t',
        "not valid JSON",
    ),
    Case(
        "the second is none",
        f'<|tool_call|>[{WEATHER}, {{"name": "x"}}]',
        [TOKYO],
        '{"name": "x"}',
        "no arguments",
    ),
    Case("an empty list", "<|tool_call|>[]", (), "<|tool_call|>[]", "empty"),
    Case("a bare list cut off", '[{"name": "get_wea', (), '[{"name": "get_wea', "JSON"),
    Case("cut off inside the first key", '[{"na', (), '[{"na', "not valid JSON"),
    Case("another list is cut off", '[{"ci', (), '[{"ci'),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_granite(case: Case) -> None:
    check("granite", case)


CASES_4 = [
    *standard_cases(lambda calls: "\n".join(f"<tool_call> {one} </tool_call>" for one in calls)),
    Case(
        "text everywhere",
        f"Here: \n<tool_call> {WEATHER} </tool_call> Now:\n <tool_call> {WEATHER} </tool_call> Ok.",
        [TOKYO, TOKYO],
        "Here: \n Now:\n  Ok.",
    ),
    Case(
        "no closing tag",
        f"<tool_call>{WEATHER}",
        (),
        f"<tool_call>{WEATHER}",
        "followed by something else",
    ),
]


@pytest.mark.parametrize("case", CASES_4, ids=lambda case: case.label)
def test_granite4(case: Case) -> None:
    check("granite4", case)
