"""FunctionGemma."""

import pytest

from tests.engine.parsers.tools.json_cases import Case, check
from tests.engine.parsers.tools.markup_cases import TOOLS, assert_fast

START, END = "<start_function_call>", "<end_function_call>"
ONE = f"{START}call:save{{text:<escape>Oslo<escape>}}{END}"
SAVED = ("save", {"text": "Oslo"})


def call(name: str, arguments: str) -> str:
    return f"{START}call:{name}{{{arguments}}}{END}"


CASES = [
    Case("no call", "Oslo.", content="Oslo."),
    Case("one", ONE, [SAVED]),
    Case("several", f"{ONE}{call('refresh', '')}\n{ONE}", [SAVED, ("refresh", {}), SAVED]),
    Case("no arguments", call("refresh", ""), [("refresh", {})]),
    Case("white space", f"\n{START} call:save {{ text : <escape>Oslo<escape> }} {END}\n", [SAVED]),
    Case("text before and after", f"Let me see. {ONE} Done.", [SAVED], "Let me see.  Done."),
    Case("a name nobody declared", call("fly", "to:<escape>a<escape>"), [("fly", {"to": "a"})]),
    Case(
        "several arguments",
        call("save", "text:<escape>Oslo<escape>,count:3,ratio:1.5,flag:false,nothing:null"),
        [("save", {"text": "Oslo", "count": 3, "ratio": 1.5, "flag": False, "nothing": None})],
    ),
    Case(
        "no commas",
        call("save", "text:<escape>Oslo<escape>unit:<escape>kelvin<escape>"),
        [("save", {"text": "Oslo", "unit": "kelvin"})],
    ),
    Case(
        "no schema: the text decides",
        call("bare", "a:<escape>42<escape>,b:<escape>true<escape>,c:<escape>x y<escape>,d:7,e:z"),
        [("bare", {"a": 42, "b": True, "c": "x y", "d": 7, "e": "z"})],
    ),
    Case(
        "the schema decides",
        call("save", "text:<escape>42<escape>,count:<escape>42<escape>,maybe_text:7"),
        [("save", {"text": "42", "count": 42, "maybe_text": "7"})],
    ),
    Case(
        "nested",
        call(
            "save",
            "options:{a:{b:<escape>5<escape>},c:[1,<escape>x<escape>,null,[]],d:{}},"
            "items:[<escape>a<escape>,<escape>b, c<escape>]",
        ),
        [("save", {
            "options": {"a": {"b": "5"}, "c": [1, "x", None, []], "d": {}},
            "items": ["a", "b, c"],
        })],
    ),
    Case(
        "signs inside a string",
        call("save", 'text:<escape>{"a": [1]}, }:" C:\\x\nnext 東🎉<escape>'),
        [("save", {"text": '{"a": [1]}, }:" C:\\x\nnext 東🎉'})],
    ),
    Case(
        "JSON inside a string for an object",
        call("save", 'options:<escape>{"a": 1}<escape>'),
        [("save", {"options": {"a": 1}})],
    ),
    Case("an empty string", call("save", "text:<escape><escape>"), [("save", {"text": ""})]),
    Case("escaped keys", call("bare", "<escape>a<escape>:1"), [("bare", {"a": 1})]),
    Case("no end", ONE.removesuffix(END), [SAVED]),
    Case("cut off in a string", ONE[:45], (), ONE[:45], "cut off"),
    Case("cut off in the name", f"{START}call:sa", (), f"{START}call:sa", "no function"),
    Case("cut off behind a value", ONE[: ONE.index("}")], (), ONE[: ONE.index("}")], "cut off"),
    Case(
        "a broken call keeps its neighbours",
        f"{ONE}{START}save{END}{ONE}",
        [SAVED, SAVED],
        f"{START}save{END}",
        "no function",
    ),
    Case("no value", call("save", "text:"), (), call("save", "text:"), "no value"),
    Case("no name of an argument", call("save", "Oslo"), (), call("save", "Oslo"), "no name"),
    Case(
        "text behind the brace",
        ONE.replace(END, f"; {END}"),
        (),
        ONE.replace(END, f"; {END}"),
        "followed by something else",
    ),
    Case(
        "too deep",
        call("bare", "a:" + "[" * 70 + "]" * 70),
        (),
        call("bare", "a:" + "[" * 70 + "]" * 70),
        "nested deeper",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_functiongemma(case: Case) -> None:
    check("functiongemma", case, TOOLS)


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "functiongemma",
        START,
        f"{START}call:save{{",
        f"{START}call:save{{text:<escape>",
        f"{START}call:save{{items:[",
        f"{START}call:save{{text:<escape>x<escape>",
        "<escape>",
    )
