"""The tags of Qwen 3 Coder."""

from collections.abc import Sequence

import pytest

from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import TOOLS, assert_fast, markup_cases

WRITE_FILE = {
    "name": "write_file",
    "parameters": {"properties": {"path": {"type": "string"}, "content": {"type": "string"}}},
}


def function(name: str, arguments: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in arguments)
    return f"<function={name}>\n{lines}</function>"


def render(calls: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    return "\n".join(f"<tool_call>\n{function(*call)}\n</tool_call>" for call in calls)


ONE = render([("save", [("text", "Oslo")])])
SAVED = ("save", {"text": "Oslo"})

CASES = [
    *markup_cases(render),
    Case(
        "two functions in one block",
        f"<tool_call>\n{function('refresh', [])}\n{function('bare', [])}\n</tool_call>",
        [("refresh", {}), ("bare", {})],
    ),
    Case(
        "all on one line",
        "<tool_call><function=save><parameter=text>Oslo</parameter></function></tool_call>",
        [SAVED],
    ),
    Case(
        "only the outer line breaks belong to the tags",
        render([("save", [("text", "\n  Oslo \n")])]),
        [("save", {"text": "\n  Oslo \n"})],
    ),
    Case("no wrapper", function("save", [("text", "Oslo")]), [SAVED]),
    Case(
        "no opening wrapper",
        f"So:\n\n{function('save', [('text', 'Oslo')])}\n</tool_call>",
        [SAVED],
        "So:",
    ),
    Case("no closing wrapper", ONE.removesuffix("\n</tool_call>"), [SAVED]),
    Case("no end of the function", ONE.replace("</function>\n", ""), [SAVED]),
    Case(
        "no end of a value before the next",
        "<tool_call>\n<function=save>\n<parameter=text>\nOslo\n<parameter=count>\n2\n</parameter>\n"
        "</function>\n</tool_call>",
        [("save", {"text": "Oslo", "count": 2})],
    ),
    Case(
        "no end of the last value",
        "<tool_call>\n<function=save>\n<parameter=text>\nOslo\n</function>\n</tool_call>",
        [SAVED],
    ),
    Case(
        "no end of any value",
        "<tool_call>\n<function=save>\n<parameter=text>Oslo\n<parameter=unit>kelvin\n"
        "<parameter=count>3\n</function>\n</tool_call>",
        [("save", {"text": "Oslo", "unit": "kelvin", "count": 3})],
    ),
    Case(
        "no end of any value and no wrapper",
        "So:\n\n<function=save>\n<parameter=text>Oslo\n<parameter=unit>kelvin\n"
        "<parameter=count>3\n</function>",
        [("save", {"text": "Oslo", "unit": "kelvin", "count": 3})],
        "So:",
    ),
    Case(
        "an argument given twice",
        render([("save", [("text", "Rome"), ("text", "Oslo")])]),
        [SAVED],
    ),
    Case(
        "text between the arguments",
        "<tool_call><function=save><parameter=text>Oslo</parameter> and <parameter=count>2"
        "</parameter></function></tool_call>",
        [("save", {"text": "Oslo", "count": 2})],
        "and",
    ),
    Case(
        "arguments of which one is not declared",
        render([("save", [("text", "Oslo"), ("colour", "red"), ("count", "1")])]),
        [("save", {"text": "Oslo", "colour": "red", "count": 1})],
    ),
    Case(
        "a function tag that is not closed",
        f"<tool_call>\n<function=save\n</function>\n</tool_call>\n{ONE}",
        [SAVED],
        "<tool_call>\n<function=save\n</function>\n</tool_call>",
        "name of a function",
    ),
    Case(
        "a template that was not filled in",
        "<tool_call>\n<function={{ name }}>\n<parameter={{ k }}>\n{{ v }}\n</parameter>\n"
        f"</function>\n</tool_call>\n\n{ONE}",
        [SAVED],
        "<tool_call>\n<function={{ name }}>\n<parameter={{ k }}>\n{{ v }}\n</parameter>\n"
        "</function>\n</tool_call>",
        "name of a function",
    ),
    Case(
        "a block without a function",
        f"As in <tool_call>this</tool_call>. Now:\n{ONE}",
        [SAVED],
        "As in <tool_call>this</tool_call>. Now:",
        "no call stands",
    ),
    Case(
        "a name without text",
        "<tool_call><function=></function></tool_call>",
        (),
        "<tool_call><function=></function></tool_call>",
        "name of a function",
    ),
    Case(
        "tags in prose",
        f"Write <function=name> and <parameter=x> like this.\n{ONE}",
        [SAVED],
        "Write <function=name> and <parameter=x> like this.",
    ),
    Case(
        "a broken call keeps its neighbours",
        f"{ONE}\n<tool_call>\n<function=refresh>\n<tool_call>\n<function=bare>\n</function>\n"
        "</tool_call>",
        [SAVED, ("bare", {})],
        "<tool_call>\n<function=refresh>\n",
        "has no end",
    ),
]  # fmt: skip


@pytest.mark.parametrize("name", ["qwen3_coder", "qwen3_xml"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_qwen3_xml(name: str, case: Case) -> None:
    content = case.content.strip() if case.content and case.calls else case.content
    check(name, Case(case.label, case.text, case.calls, content, case.error), TOOLS)


FILES = {
    "tags in strings": '["<tool_call>\\n", "<parameter=query>\\n", "</parameter>", "</function>"]',
    "a closing wrapper": 'text.split("</tool_call>")',
    "tags of an unknown parameter": 'T = """\n</parameter>\n<parameter=x>\n1\n</parameter>\n"""',
    "tags of a known parameter": 'T = """\n<parameter=path>\nx\n</parameter>\n"""',
    "a parameter alone": "<parameter=path>\nx\n</parameter>",
    "a whole call": 'T = """\n'
    + render([("write_file", [("path", "x"), ("content", "y")])])
    + '\n"""',
    "calls of something else": f'T = """\n{ONE}\n{ONE}\n"""',
    "a template": "<tool_call>\n<function={{ f }}>\n<parameter={{ k }}>\n{{ v }}\n</parameter>",
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_a_file_about_the_format_stays_whole(content: str) -> None:
    text = render([("refresh", []), ("write_file", [("path", "a.py"), ("content", content)])])
    written = ("write_file", {"path": "a.py", "content": content})
    check("qwen3_coder", Case("", text, [("refresh", {}), written]), [*TOOLS, WRITE_FILE])


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "qwen3_coder",
        "<tool_call>",
        "<tool_call>\n<function=save>",
        "<tool_call><function=save><parameter=text>",
        "<function=save><parameter=text></parameter>",
        "<parameter=text></parameter>",
        "</parameter>",
        "<function=",
        "<",
    )
