"""DeepSeek V3.2's markup."""

from collections.abc import Sequence

import pytest

from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import TOOLS, assert_fast, markup_cases

DSML = "｜DSML｜"
START, END = f"<{DSML}function_calls>", f"</{DSML}function_calls>"


def invoke(name: str, arguments: Sequence[tuple[str, str]], is_string: str = "true") -> str:
    lines = "".join(
        f'<{DSML}parameter name="{key}" string="{is_string}">{value}</{DSML}parameter>\n'
        for key, value in arguments
    )
    return f'<{DSML}invoke name="{name}">\n{lines}</{DSML}invoke>'


def block(*invokes: str) -> str:
    return "\n".join([START, *invokes, END])


def render(calls: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    return block(*[invoke(*call) for call in calls])


ONE = render([("save", [("text", "Oslo")])])
SAVED = ("save", {"text": "Oslo"})

CASES = [
    *markup_cases(render, strips=False),
    Case(
        "JSON without a schema",
        block(invoke("bare", [("a", "42"), ("b", "true"), ("c", '{"d": [null]}')], "false")),
        [("bare", {"a": 42, "b": True, "c": {"d": [None]}})],
    ),
    Case(
        "no JSON where it was announced",
        block(invoke("bare", [("a", "many words")], "false")),
        [("bare", {"a": "many words"})],
    ),
    Case(
        "a plain text without a schema",
        block(invoke("bare", [("a", "42")])),
        [("bare", {"a": "42"})],
    ),
    Case(
        "the schema has the last word",
        block(invoke("save", [("text", "null"), ("count", "7")], "false")),
        [("save", {"text": "null", "count": 7})],
    ),
    Case(
        "no word on the kind of a value",
        ONE.replace(' string="true"', ""),
        [SAVED],
    ),
    Case(
        "all arguments in one",
        block(invoke("save", [("arguments", '{"text": "Oslo", "count": 1}')], "false")),
        [("save", {"text": "Oslo", "count": 1})],
    ),
    Case(
        "all arguments in one, as a text",
        block(invoke("save", [("input", '{"text": "Oslo"}')])),
        [SAVED],
    ),
    Case(
        "an argument that only looks like a wrapper",
        block(invoke("save", [("arguments", '{"colour": 1}')], "false")),
        [("save", {"arguments": {"colour": 1}})],
    ),
    Case("no wrapper", invoke("save", [("text", "Oslo")]), [SAVED]),
    Case("no end of the block", ONE.removesuffix(END), [SAVED]),
    Case(
        "a file about the format",
        render([("save", [("text", f"doc: {ONE} end")])]),
        [("save", {"text": f"doc: {ONE} end"})],
    ),
    Case(
        "a broken name keeps its neighbours",
        f'{START}\n<{DSML}invoke name="save>\n{invoke("refresh", [])}\n{END}',
        [("refresh", {})],
        f'{START}\n<{DSML}invoke name="save>\n',
        "name of a function",
    ),
    Case("an empty block", f"{START}\n{END}", (), f"{START}\n{END}", "no call stands"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_deepseek_v32(case: Case) -> None:
    check("deepseek_v32", case, TOOLS)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "deepseek_v32",
        START,
        f'<{DSML}invoke name="save">',
        f'{START}<{DSML}invoke name="save"><{DSML}parameter name="text" string="true">',
        f"</{DSML}parameter>",
    )
