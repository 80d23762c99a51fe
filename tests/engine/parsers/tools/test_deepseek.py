"""DeepSeek V3 and V3.1."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from engine.parsers.tools import tool_parser
from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import assert_fast

OPEN, CLOSE = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
BEGIN, SEPARATOR, END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"


def fenced(name: str, arguments: str) -> str:
    return f"{BEGIN}function{SEPARATOR}{name}\n```json\n{arguments}\n```{END}"


def bare(name: str, arguments: str) -> str:
    return f"{BEGIN}{name}{SEPARATOR}{arguments}{END}"


WRITERS = [fenced, bare]
OSLO = '{"city": "Oslo"}'
WEATHER = ("get_weather", {"city": "Oslo"})
ARGUMENTS: list[tuple[str, str, dict[str, Any]]] = [
    ("none", "{}", {}),
    ("no text", "", {}),
    ("nested", '{"a": {"b": [1, 2.5, {"c": null}]}, "d": true}',
     {"a": {"b": [1, 2.5, {"c": None}]}, "d": True}),
    ("quotes", '{"t": "He said \\"hi\\" C:\\\\x\\ny"}', {"t": 'He said "hi" C:\\x\ny'}),
    ("unicode", '{"naïve": "東京 🎉"}', {"naïve": "東京 🎉"}),
    ("lines", '{\n  "a": 1\n}', {"a": 1}),
    ("a line break in a string", '{"a": "b\nc"}', {"a": "b\nc"}),
    ("a fence in a string", '{"a": "```json\\n{}\\n```"}', {"a": "```json\n{}\n```"}),
    ("types as they are written", '{"a": "3", "b": 3}', {"a": "3", "b": 3}),
]  # fmt: skip


def cases(write: Any) -> list[Case]:
    one = f"{OPEN}{write('get_weather', OSLO)}{CLOSE}"
    broken = write("get_weather", '{"city": "Oslo"')
    listed = write("get_weather", '["Oslo"]')
    return [
        Case("no call", "Oslo.", content="Oslo."),
        Case("one", one, [WEATHER]),
        Case(
            "several",
            f"{OPEN}{write('get_weather', OSLO)}\n{write('refresh', '{}')}{CLOSE}",
            [WEATHER, ("refresh", {})],
        ),
        Case("text before", f"Let me see. {one}", [WEATHER], "Let me see. "),
        Case("text after", f"{one} Done.", [WEATHER], " Done."),
        Case("two sections", f"{one} and {one}", [WEATHER, WEATHER], " and "),
        Case("a name nobody declared", one.replace("get_weather", "fly"), [("fly", WEATHER[1])]),
        Case("no end of the section", one.removesuffix(CLOSE), [WEATHER]),
        Case("no end of the call", one.replace(END, ""), [WEATHER]),
        Case("no section", write("get_weather", OSLO), [WEATHER]),
        Case("broken", f"{OPEN}{broken}{CLOSE}", (), f"{OPEN}{broken}{CLOSE}", "no JSON object"),
        Case("no object", f"{OPEN}{listed}{CLOSE}", (), f"{OPEN}{listed}{CLOSE}", "no JSON object"),
        Case(
            "a broken call keeps its neighbours",
            f"{OPEN}{broken}{write('refresh', '{}')}{CLOSE}",
            [("refresh", {})],
            broken,
            "no JSON object",
        ),
        Case("cut off", one[: one.index("Oslo") + 2], (), one[: one.index("Oslo") + 2], "no JSON"),
        Case(
            "announced and not there",
            f"Look.{OPEN}get_weather",
            (),
            f"Look.{OPEN}get_weather",
            "no call stands",
        ),
        Case(
            "no begin of the call",
            f"{OPEN}get_weather{SEPARATOR}{OSLO}{CLOSE}",
            (),
            f"{OPEN}get_weather{SEPARATOR}{OSLO}{CLOSE}",
            "no call stands",
        ),
        Case(
            "no separator",
            f"{OPEN}{BEGIN}get_weather{END}{write('refresh', '{}')}{CLOSE}",
            [("refresh", {})],
            f"{BEGIN}get_weather{END}",
            "no arguments",
        ),
        *[
            Case(label, f"{OPEN}{write('save', text)}{CLOSE}", [("save", value)])
            for label, text, value in ARGUMENTS
        ],
    ]


BOTH: Sequence[tuple[str, Case]] = [
    (write.__name__, case) for write in WRITERS for case in cases(write)
]


@pytest.mark.parametrize("name", ["deepseek_v3", "deepseek_v31"])
@pytest.mark.parametrize(
    "case", [case for _, case in BOTH], ids=[f"{form} {case.label}" for form, case in BOTH]
)
def test_deepseek(name: str, case: Case) -> None:
    check(name, case)


def test_arguments_are_handed_on_as_written() -> None:
    written = '{"x":1,  "y": 2.50}'
    for write in WRITERS:
        text = OPEN + write("f", written) + CLOSE
        (call,) = tool_parser("deepseek_v31").parse(text, []).calls
        assert call.arguments == written


def test_arguments_that_are_not_quite_json_become_json() -> None:
    text = OPEN + bare("f", '{"x": "a\nb"}') + CLOSE
    (call,) = tool_parser("deepseek_v31").parse(text, []).calls
    assert json.loads(call.arguments) == {"x": "a\nb"}


def test_a_function_called_function_is_no_fence() -> None:
    check("deepseek_v31", Case("", f"{OPEN}{bare('function', '{}')}{CLOSE}", [("function", {})]))


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "deepseek_v3",
        OPEN,
        BEGIN,
        END,
        SEPARATOR,
        f"{BEGIN}f{SEPARATOR}{{",
        f"{BEGIN}f{SEPARATOR}f\n```json\n",
    )
