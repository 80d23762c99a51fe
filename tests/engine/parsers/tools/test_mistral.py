from collections.abc import Sequence

import pytest

from engine.parsers.tools import tool_parser
from tests.engine.parsers.tools.json_cases import Case, call, check, standard_cases

WEATHER = call("get_weather", {"city": "Tokyo"})
TOKYO = ("get_weather", {"city": "Tokyo"})


def before_v11(calls: Sequence[str]) -> str:
    return f"[TOOL_CALLS] [{', '.join(calls)}]"


CASES = [
    *standard_cases(before_v11),
    Case("no space", f"[TOOL_CALLS][{WEATHER}]", [TOKYO]),
    Case("text before", f"Hello[TOOL_CALLS] [{WEATHER}]", [TOKYO], "Hello"),
    Case("text after", f"[TOOL_CALLS] [{WEATHER}]\nmore", [TOKYO], "\nmore"),
    Case("words before the list", f"[TOOL_CALLS] so [{WEATHER}]", [TOKYO], " so "),
    Case("two lists", f"[TOOL_CALLS][{WEATHER}][TOOL_CALLS][{WEATHER}]", [TOKYO, TOKYO]),
    Case("not JSON", "[TOOL_CALLS] no", (), "[TOOL_CALLS] no", "JSON"),
    Case("v11", '[TOOL_CALLS]get_weather{"city": "Tokyo"}', [TOKYO]),
    Case(
        "v11, several",
        '[TOOL_CALLS]get_weather{"city": "Tokyo"}[TOOL_CALLS]refresh{}',
        [TOKYO, ("refresh", {})],
    ),
    Case("v11, text before", 'hi{hi[TOOL_CALLS]refresh{}', [("refresh", {})], "hi{hi"),
    Case("v11, text after", '[TOOL_CALLS]refresh{} ok', [("refresh", {})], " ok"),
    Case(
        "v11, escaped",
        '[TOOL_CALLS]save{"c": "print(\\"a {}\\")\\nb"}',
        [("save", {"c": 'print("a {}")\nb'})],
    ),
    Case("v13", '[TOOL_CALLS]get_weather[ARGS]{"city": "Tokyo"}', [TOKYO]),
    Case("call id", "[TOOL_CALLS]refresh[CALL_ID]abcDEF123[ARGS]{}", [("refresh", {})]),
    Case("v11, no arguments", "[TOOL_CALLS]refresh", (), "[TOOL_CALLS]refresh", "JSON"),
    Case(
        "v11, cut off",
        '[TOOL_CALLS]refresh{}[TOOL_CALLS]save{"c": "pri',
        [("refresh", {})],
        '[TOOL_CALLS]save{"c": "pri',
        "not valid JSON",
    ),
    Case(
        "v11, malformed",
        "[TOOL_CALLS]save{c}[TOOL_CALLS]refresh{}",
        [("refresh", {})],
        "[TOOL_CALLS]save{c}",
        "not valid JSON",
    ),
    Case("v11, unknown", "[TOOL_CALLS]fly{}", [("fly", {})]),
    Case("the words of the format", "TOOL_CALLS [ARGS]", (), "TOOL_CALLS [ARGS]"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_mistral(case: Case) -> None:
    check("mistral", case)


def test_its_templates_take_short_ids_only() -> None:
    assert tool_parser("mistral").syntax.has_short_ids
