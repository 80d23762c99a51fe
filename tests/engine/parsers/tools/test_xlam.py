import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases

WEATHER = call("get_weather", {"city": "Tokyo"})
TOKYO = ("get_weather", {"city": "Tokyo"})

CASES = [
    *[
        case
        for case in standard_cases(lambda calls: f"[{', '.join(calls)}]")
        if case.label != "nameless"  # any list of objects
    ],
    Case("behind a thought", f"<think>hm</think>[{WEATHER}]", [TOKYO], "<think>hm</think>"),
    Case("a block", f"I'll see.\n```json\n[{WEATHER}]\n```", [TOKYO], "I'll see."),
    Case("a block without a language", f"```\n[{WEATHER}]\n```", [TOKYO]),
    Case("mistral's marker", f"I'll see.[TOOL_CALLS][{WEATHER}]", [TOKYO], "I'll see."),
    Case("tags", f"I'll see.<tool_call>[{WEATHER}]</tool_call>", [TOKYO], "I'll see."),
    Case("text after", f"[{WEATHER}] done", [TOKYO], " done"),
    Case("one object", WEATHER, [TOKYO]),
    Case("another block", "```json\n[1, 2]\n```", (), "```json\n[1, 2]\n```"),
    Case("another list", "[1, 2]", (), "[1, 2]"),
    Case("another object", '{"city": "Tokyo"}', (), '{"city": "Tokyo"}'),
    Case("a list in the middle", f"so: [{WEATHER}]", (), f"so: [{WEATHER}]"),
    Case("a bad tag", "<tool_call>no</tool_call>", (), "<tool_call>no</tool_call>", "JSON"),
    Case("the second is cut off", f'[{WEATHER}, {{"na', [TOKYO], '{"na', "not valid JSON"),
    Case("cut off inside the first key", '[{"na', (), '[{"na', "not valid JSON"),
    Case("another list is cut off", '[{"ci', (), '[{"ci'),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_xlam(case: Case) -> None:
    check("xlam", case)
