import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases

WEATHER = call("get_weather", {"city": "Tokyo"})
TOKYO = ("get_weather", {"city": "Tokyo"})

CASES = [
    *standard_cases(lambda calls: "<tool_calls>[\n" + ",\n".join(calls) + "\n]</tool_calls>"),
    Case("a space in front", f" <tool_calls>[{WEATHER}]</tool_calls>", [TOKYO]),
    Case("text before", f" Sure!<tool_calls>[{WEATHER}]</tool_calls>", [TOKYO], " Sure!"),
    Case("text after", f"<tool_calls>[{WEATHER}]</tool_calls>ok", [TOKYO], "ok"),
    Case("no end at the end", f"<tool_calls>[{WEATHER}]", [TOKYO]),
    Case("an object without its list", f"<tool_calls>{WEATHER}</tool_calls>", [TOKYO]),
    Case(
        "the second is cut off", f'<tool_calls>[{WEATHER}, {{"na', [TOKYO], '{"na',
        "not valid JSON",
    ),
    Case(
        "something behind", f"<tool_calls>[{WEATHER}] x</tool_calls>", [TOKYO],
        " x</tool_calls>", "followed by",
    ),
    Case("an empty list", "<tool_calls>[]</tool_calls>", (), "<tool_calls>[]</tool_calls>",
         "empty"),
    Case(
        "the second is none", f"<tool_calls>[{WEATHER}, 1]</tool_calls>", [TOKYO],
        "1]</tool_calls>", "JSON object",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_jamba(case: Case) -> None:
    check("jamba", case)
