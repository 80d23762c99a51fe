"""The tags of MiniMax M2."""

from collections.abc import Sequence

import pytest

from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import TOOLS, assert_fast, markup_cases

START, END = "<minimax:tool_call>", "</minimax:tool_call>"


def invoke(name: str, arguments: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f'<parameter name="{key}">{value}</parameter>\n' for key, value in arguments)
    return f'<invoke name="{name}">\n{lines}</invoke>'


def render(calls: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    invokes = "\n".join(invoke(*call) for call in calls)
    return f"{START}\n{invokes}\n{END}"


ONE = render([("save", [("text", "Oslo")])])
SAVED = ("save", {"text": "Oslo"})

CASES = [
    *markup_cases(render),
    Case("single quotes", ONE.replace('"', "'"), [SAVED]),
    Case("no quotes", ONE.replace('"', ""), [SAVED]),
    Case("no wrapper", invoke("save", [("text", "Oslo")]), [SAVED]),
    Case("a wrapper that is not closed", ONE.removesuffix(END), [SAVED]),
    Case(
        "white space in a value stays",
        render([("save", [("text", "\n  Oslo \n")])]),
        [("save", {"text": "\n  Oslo \n"})],
    ),
    Case(
        "a value without an end",
        f'{START}<invoke name="save"><parameter name="text">Oslo<parameter name="count">1'
        f"</parameter></invoke>{END}",
        [("save", {"text": "Oslo", "count": 1})],
    ),
    Case(
        "a call that is not closed keeps its neighbours",
        f'{START}\n<invoke name="save">\n<invoke name="refresh"></invoke>\n{END}',
        [("refresh", {})],
        f'{START}\n<invoke name="save">',
        "has no end",
    ),
    Case("an empty block", f"{START}\n{END}", (), f"{START}\n{END}", "no call stands"),
    Case(
        "a file about the format",
        render([("save", [("text", f"doc: {ONE} end")])]),
        [("save", {"text": f"doc: {ONE} end"})],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_minimax_m2(case: Case) -> None:
    check("minimax_m2", case, TOOLS)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "minimax_m2",
        START,
        '<invoke name="save">',
        f'{START}<invoke name="save"><parameter name="text">',
        "<invoke name=",
    )
