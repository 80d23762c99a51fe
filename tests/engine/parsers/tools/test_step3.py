"""The tags of Step 3."""

from collections.abc import Sequence

import pytest

from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import TOOLS, assert_fast, markup_cases

START, END = "<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"
CALL, CALL_END, SEPARATOR = "<｜tool_call_begin｜>", "<｜tool_call_end｜>", "<｜tool_sep｜>"


def invoke(name: str, arguments: Sequence[tuple[str, str]]) -> str:
    lines = "".join(
        f'<steptml:parameter name="{key}">{value}</steptml:parameter>\n' for key, value in arguments
    )
    return f'<steptml:invoke name="{name}">\n{lines}</steptml:invoke>'


def render(calls: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    body = "\n".join(f"{CALL}function{SEPARATOR}{invoke(*call)}{CALL_END}" for call in calls)
    return f"{START}\n{body}\n{END}"


ONE = render([("save", [("text", "Oslo")])])
SAVED = ("save", {"text": "Oslo"})
INVOKE = invoke("save", [("text", "Oslo")])

CASES = [
    *markup_cases(render),
    Case("no kind of call", f"{START}{CALL}{INVOKE}{CALL_END}{END}", [SAVED]),
    Case(
        "a separator between calls",
        f"{START}{CALL}{INVOKE}{CALL_END}{SEPARATOR}{CALL}{INVOKE}{CALL_END}{END}",
        [SAVED, SAVED],
    ),
    Case(
        "the name in front of the tag",
        f"{START}{CALL}function{SEPARATOR}save\n{INVOKE}{CALL_END}{END}",
        [SAVED],
    ),
    Case("no section", f"{CALL}{INVOKE}{CALL_END}", [SAVED]),
    Case("no end of the section", ONE.removesuffix(END), [SAVED]),
    Case(
        "white space in a value stays",
        render([("save", [("text", "    if x:\n")])]),
        [("save", {"text": "    if x:\n"})],
    ),
    Case(
        "white space around a number does not count",
        render([("save", [("count", " 4 "), ("flag", " true ")])]),
        [("save", {"count": 4, "flag": True})],
    ),
    Case(
        "another kind of call",
        f"{START}{CALL}browser{SEPARATOR}{INVOKE}{CALL_END}{END}",
        [SAVED],
        f"{START}{CALL}browser{SEPARATOR}",
        "name of a function",
    ),
    Case("an empty section", f"{START}{END}", (), f"{START}{END}", "no call stands"),
    Case(
        "a call that is not closed keeps its neighbours",
        f'{START}{CALL}<steptml:invoke name="save">{CALL}{invoke("refresh", [])}{CALL_END}{END}',
        [("refresh", {})],
        f'{START}{CALL}<steptml:invoke name="save">',
        "has no end",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_step3(case: Case) -> None:
    check("step3", case, TOOLS)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "step3",
        START,
        CALL,
        f"{CALL}function{SEPARATOR}",
        '<steptml:invoke name="save">',
        f'{START}{CALL}<steptml:invoke name="save"><steptml:parameter name="text">',
    )
