"""Kimi K2."""

from typing import Any

import pytest

from engine.parsers.tools import tool_parser
from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import assert_fast

OPEN, CLOSE = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
BEGIN, SEPARATOR = "<|tool_call_begin|>", "<|tool_call_argument_begin|>"
END = "<|tool_call_end|>"


def call(call_id: str, arguments: str) -> str:
    return f"{BEGIN}{call_id}{SEPARATOR}{arguments}{END}"


OSLO = '{"city": "Oslo"}'
ONE = f"{OPEN}{call('functions.get_weather:0', OSLO)}{CLOSE}"
WEATHER = ("get_weather", {"city": "Oslo"})
BROKEN = call("functions.save:0", '{"city": "Oslo"')
ODD = call("functions.save.0", OSLO)

CASES = [
    Case("no call", "Oslo.", content="Oslo."),
    Case("one", ONE, [WEATHER]),
    Case(
        "several",
        f"{OPEN}{call('functions.get_weather:0', OSLO)}\n{call('functions.refresh:1', '{}')}"
        f"{CLOSE}",
        [WEATHER, ("refresh", {})],
    ),
    Case("white space around the id", ONE.replace(":0", ":0 \n"), [WEATHER]),
    Case("no prefix", ONE.replace("functions.", ""), [WEATHER]),
    Case("a number from further on", ONE.replace(":0", ":17"), [WEATHER]),
    Case(
        "dots and dashes in a name",
        f"{OPEN}{call('functions.mcp__a.search-all:3', '{}')}{CLOSE}",
        [("mcp__a.search-all", {})],
    ),
    Case("a name nobody declared", ONE.replace("get_weather", "fly"), [("fly", WEATHER[1])]),
    Case("text before", f"I'll check. {ONE}", [WEATHER], "I'll check. "),
    Case("text after", f"{ONE} Done.", [WEATHER], " Done."),
    Case("text in the section", ONE.replace(BEGIN, f" noise {BEGIN}"), [WEATHER], " noise "),
    Case("no section", ONE.removeprefix(OPEN).removesuffix(CLOSE), [WEATHER]),
    Case("no end of the call", ONE.replace(END, ""), [WEATHER]),
    Case("cut off behind a whole call", ONE.removesuffix(CLOSE), [WEATHER]),
    Case("cut off", ONE[:-70], (), ONE[:-70], ""),
    Case("cut off in the id", f"{OPEN}{BEGIN}f", (), f"{OPEN}{BEGIN}f", "no arguments"),
    Case(
        "broken JSON keeps its neighbours",
        f"Now. {OPEN}{BROKEN}{call('functions.refresh:1', '{}')}{CLOSE}",
        [("refresh", {})],
        f"Now. {BROKEN}",
        "no JSON object",
    ),
    Case(
        "an odd id keeps its neighbours",
        f"{OPEN}{ODD}{call('functions.refresh:1', '{}')}{CLOSE}",
        [("refresh", {})],
        ODD,
        "is not the id",
    ),
    Case("an empty section", f"a{OPEN}{CLOSE}", (), f"a{OPEN}{CLOSE}", "no call stands"),
    Case("a stray token", f"a{CLOSE}b", (), f"a{CLOSE}b"),
    Case(
        "nested, quotes, unicode",
        OPEN + call("save:0", '{"a": [{"b": null}], "c": "\\"é東🎉\\" <x>"}') + CLOSE,
        [("save", {"a": [{"b": None}], "c": '"é東🎉" <x>'})],
    ),
    Case("no arguments", f"{OPEN}{call('refresh:0', ' ')}{CLOSE}", [("refresh", {})]),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_kimi_k2(case: Case) -> None:
    check("kimi_k2", case)


def test_ids_and_arguments_are_handed_on_as_written() -> None:
    text = OPEN + call("functions.a:4 ", '{"x":1}') + call("b:5", "{ }") + CLOSE
    calls = tool_parser("kimi_k2").parse(text, []).calls
    assert [(one.id, one.arguments) for one in calls] == [
        ("functions.a:4", '{"x":1}'),
        ("b:5", "{ }"),
    ]


def test_an_id_that_comes_twice_is_the_first_call_s() -> None:
    text = f"{OPEN}{call('functions.a:0', '{}')}{call('functions.a:0', '{}')}{CLOSE}"
    calls = tool_parser("kimi_k2").parse(text, [tool("a")]).calls
    assert [one.id for one in calls] == ["functions.a:0", None]


def tool(name: str, *arguments: str) -> dict[str, Any]:
    return {"name": name, "parameters": {"properties": {key: {} for key in arguments}}}


NUMBERED = [
    ("the only tool", [tool("a")], OSLO, "a"),
    ("the only tool that fits", [tool("a", "path"), tool("b", "city", "day")], OSLO, "b"),
    ("two tools that fit", [tool("a", "city"), tool("b", "city")], OSLO, None),
    ("no tool that fits", [tool("a", "x"), tool("b", "y")], OSLO, None),
    ("two tools and no arguments", [tool("a", "x"), tool("b", "y")], "{}", None),
    ("no tools", [], OSLO, None),
]


@pytest.mark.parametrize(
    ("tools", "arguments", "meant"),
    [row[1:] for row in NUMBERED],
    ids=[row[0] for row in NUMBERED],
)
def test_a_bare_number_means_the_tool_that_can_be_meant(
    tools: list[dict[str, Any]], arguments: str, meant: str | None
) -> None:
    text = f"{OPEN}{call('0', arguments)}{CLOSE}"
    parsed = tool_parser("kimi_k2").parse(text, tools)
    assert [(one.name, one.id) for one in parsed.calls] == ([(meant, "0")] if meant else [])
    assert parsed.content == (None if meant else text)
    assert (parsed.error is None) == (meant is not None)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "kimi_k2", OPEN, BEGIN, END, SEPARATOR, f"{BEGIN}f:0{SEPARATOR}{{", f"{BEGIN}{SEPARATOR}"
    )
