import pytest

from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases

WEATHER = call("get_weather", {"city": "Tokyo"})
TOKYO = ("get_weather", {"city": "Tokyo"})

CASES = [
    *standard_cases(lambda calls: "functools[\n  " + ",\n  ".join(calls) + "\n]"),
    Case("the card's tags", f"<|tool_call|>[{WEATHER}]<|/tool_call|>", [TOKYO]),
    Case("text before", f"Let me see.\nfunctools[{WEATHER}]", [TOKYO], "Let me see.\n"),
    Case("text after", f"functools[{WEATHER}]\nMore?", [TOKYO], "\nMore?"),
    Case("two lists", f"functools[{WEATHER}] functools[{WEATHER}]", [TOKYO, TOKYO]),
    Case("the word", "Use functools.cache here.", (), "Use functools.cache here."),
    Case("no list", f"functools{WEATHER}", (), f"functools{WEATHER}"),
    Case("an empty list", "functools[] text", (), "functools[] text", "empty"),
    Case("no JSON", "functools[ text ]", (), "functools[ text ]", "JSON object"),
    Case("`parameters` instead", f"functools[{call('refresh', {}, 'parameters')}]",
         [("refresh", {})]),
    Case("no arguments at all", 'functools[{"name": "f"}]', (), 'functools[{"name": "f"}]',
         "no arguments"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_phi4_mini_json(case: Case) -> None:
    check("phi4_mini_json", case)
