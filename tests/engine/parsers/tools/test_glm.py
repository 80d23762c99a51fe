"""The tags of GLM."""

from collections.abc import Sequence

import pytest

from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import TOOLS, assert_fast, markup_cases


def render(calls: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    return "\n".join(render_one(name, arguments, "\n") for name, arguments in calls)


def render_one(name: str, arguments: Sequence[tuple[str, str]], gap: str = "") -> str:
    pairs = [
        f"<arg_key>{key}</arg_key>{gap}<arg_value>{value}</arg_value>" for key, value in arguments
    ]
    return "<tool_call>" + gap.join([name, *pairs, "</tool_call>"])


ONE = render([("save", [("text", "Oslo")])])
SAVED = ("save", {"text": "Oslo"})

CASES = [
    *markup_cases(render),
    Case("on one line", render_one("save", [("text", "Oslo"), ("count", "1")]),
         [("save", {"text": "Oslo", "count": 1})]),
    Case("no arguments on one line", "<tool_call>refresh</tool_call>", [("refresh", {})]),
    Case("indented", render_one("save", [("text", "Oslo")], "\n    "), [SAVED]),
    Case(
        "white space in a value stays, around a key it goes",
        render_one("save", [(" text ", " Oslo\n")]),
        [("save", {"text": " Oslo\n"})],
    ),
    Case(
        "a thought in front",
        f"<think>Hm.</think>\n\nSo:\n{ONE}",
        [SAVED],
        "<think>Hm.</think>\n\nSo:",
    ),
    Case(
        "a key that is not closed",
        "<tool_call>save\n<arg_key>text</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>count\n"
        "<arg_value>1</arg_value>\n</tool_call>",
        (),
        "<tool_call>save\n<arg_key>text</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>count\n"
        "<arg_value>1</arg_value>\n</tool_call>",
        "has no end",
    ),
    Case(
        "no name",
        f"<tool_call><arg_key>text</arg_key><arg_value>Oslo</arg_value></tool_call>{ONE}",
        [SAVED],
        "<tool_call><arg_key>text</arg_key><arg_value>Oslo</arg_value></tool_call>",
        "no call stands",
    ),
    Case(
        "a name of several words",
        f"<tool_call>not a name</tool_call> {ONE}",
        [SAVED],
        "<tool_call>not a name</tool_call>",
        "no call stands",
    ),
    Case(
        "another family's JSON",
        '<tool_call>{"name": "save", "arguments": {}}</tool_call>',
        (),
        '<tool_call>{"name": "save", "arguments": {}}</tool_call>',
        "no call stands",
    ),
    Case("cut off in the name", "<tool_call>sa", (), "<tool_call>sa", "no call stands"),
    Case(
        "an end of a value in a value",
        render([("save", [("text", "a</arg_value> b"), ("count", "1")])]),
        [("save", {"text": "a</arg_value> b", "count": 1})],
    ),
    Case(
        "a call in a value",
        render([("save", [("text", f"doc: {ONE} end"), ("count", "1")])]),
        [("save", {"text": f"doc: {ONE} end", "count": 1})],
    ),
    Case(
        "a value without an end",
        f"<tool_call>save<arg_key>text</arg_key><arg_value>Oslo</tool_call>{ONE}",
        [SAVED, SAVED],
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", ["glm45", "glm47"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_glm(name: str, case: Case) -> None:
    check(name, case, TOOLS)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "glm45",
        "<tool_call>",
        "<tool_call>save<arg_key>",
        "<tool_call>save<arg_key>text</arg_key><arg_value>",
        "<arg_key>text</arg_key><arg_value>",
        "</arg_value>",
    )
