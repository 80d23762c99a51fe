"""The tags of Seed-OSS."""

import pytest

from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import TOOLS, Render, assert_fast, markup_cases
from tests.engine.parsers.tools.test_qwen3_xml import render as render_qwen3

START, END = "<seed:tool_call>", "</seed:tool_call>"


def seeded(text: str) -> str:
    return text.replace("<tool_call>", START).replace("</tool_call>", END)


render: Render = lambda calls: seeded(render_qwen3(calls))  # noqa: E731
ONE = render([("save", [("text", "Oslo")])])
SAVED = ("save", {"text": "Oslo"})
THOUGHTS = f"<seed:think>The call would be {ONE}. <seed:cot_budget_reflect>9</seed:think>"

CASES = [
    *markup_cases(render, strips=False),
    Case("a call in the thoughts", f"{THOUGHTS}\n{ONE}", [SAVED], f"{THOUGHTS}\n"),
    Case("only thoughts", f"{THOUGHTS} Hello.", (), f"{THOUGHTS} Hello."),
    Case("thoughts that do not end", THOUGHTS[:-8], (), THOUGHTS[:-8]),
    Case("thoughts further on are prose", f"a <seed:think>{ONE}", [SAVED], "a <seed:think>"),
    Case(
        "the wrapper of another family",
        render_qwen3([("fly", [])]),
        (),
        render_qwen3([("fly", [])]),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_seed_oss(case: Case) -> None:
    check("seed_oss", case, TOOLS)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast("seed_oss", START, "<seed:think>", f"{START}<function=save><parameter=text>")
