"""Pythonic calls."""

import pytest

from tests.engine.parsers.tools.json_cases import TOOLS, Case, check
from tests.engine.parsers.tools.markup_cases import assert_fast

START, END = "<|python_start|>", "<|python_end|>"
ONE = "[get_weather(city='Oslo')]"
OSLO = ("get_weather", {"city": "Oslo"})

CASES = [
    Case("no call", "Oslo.", content="Oslo."),
    Case("one", ONE, [OSLO]),
    Case("several", "[get_weather(city='Oslo'), refresh(), get_weather(city='Oslo')]",
         [OSLO, ("refresh", {}), OSLO]),
    Case("no spaces", "[get_weather(city='Oslo'),refresh()]", [OSLO, ("refresh", {})]),
    Case("on lines", "[\n  get_weather(\n    city='Oslo',\n  ),\n]\n", [OSLO]),
    Case("double quotes", '[get_weather(city="Oslo")]', [OSLO]),
    Case(
        "all types",
        "[save(a='x', b=37, c=-1.5, d=+2, e=None, f=True, g=False, h={'i': {'j': [1, 'k']}}, "
        "l=[], m={})]",
        [("save", {"a": "x", "b": 37, "c": -1.5, "d": 2, "e": None, "f": True, "g": False,
                   "h": {"i": {"j": [1, "k"]}}, "l": [], "m": {}})],
    ),
    Case("names from JSON", "[save(a=null, b=true, c=false)]",
         [("save", {"a": None, "b": True, "c": False})]),
    Case("tuples and sets", "[save(a=(1, 2), b={'x'}, c={1: 'y', 2.5: 'z'})]",
         [("save", {"a": [1, 2], "b": ["x"], "c": {"1": "y", "2.5": "z"}})]),
    Case("strings side by side", "[save(a='b' \"c\", d=f'e')]", [("save", {"a": "bc", "d": "e"})]),
    Case("escaped quotes", r"""[save(a='Martha\'s', b='\"c\" \\ \n \t')]""",
         [("save", {"a": "Martha's", "b": '"c" \\ \n \t'})]),
    Case("backslashes that escape nothing", r"[save(a='\d+\.\w', b='C:\dir')]",
         [("save", {"a": r"\d+\.\w", "b": r"C:\dir"})]),
    Case("line breaks in a string", "[save(a='b\nc\r\nd', e='''f\n'g'\n''')]",
         [("save", {"a": "b\nc\r\nd", "e": "f\n'g'\n"})]),
    Case("brackets and commas in a string", "[save(a='[f(x=1)], (}{ \"'), refresh()]",
         [("save", {"a": '[f(x=1)], (}{ "'}), ("refresh", {})]),
    Case("unicode", "[save(a='東京 🎉', é='\\u6771')]", [("save", {"a": "東京 🎉", "é": "東"})]),
    Case("a string like a number", "[save(a='42')]", [("save", {"a": "42"})]),
    Case("dotted names", "[maps.places.search(q='a')]", [("maps.places.search", {"q": "a"})]),
    Case("a name nobody declared", "[fly(to='Rome')]", [("fly", {"to": "Rome"})]),
    Case("text before", f"I look it up: {ONE}", [OSLO], "I look it up: "),
    Case("text after", f"{ONE} Here it is.", [OSLO], " Here it is."),
    Case("two lists", f"a {ONE} and {ONE}.", [OSLO, OSLO], "a  and ."),
    Case("in Llama 4's tokens", f"{START}{ONE}{END}", [OSLO]),
    Case("only the first token", f"{START}{ONE}", [OSLO]),
    Case("text around the tokens", f"a {START}{ONE}{END} b", [OSLO], "a  b"),
    Case("a list in prose", "See [fly(high)](x) or [1] or [a, b].", (),
         "See [fly(high)](x) or [1] or [a, b]."),
    Case("a call of nothing known further on", "Try [fly(to='Rome')].", (),
         "Try [fly(to='Rome')]."),
    Case("an empty list", "[]", (), "[]"),
    Case("prose in front", "[note(see below)] Oslo", (), "[note(see below)] Oslo"),
    Case("a tool with a dash", '[get-weather(city="Oslo")]', (), '[get-weather(city="Oslo")]',
         "no call"),
    Case("a dash in prose", "[low-key(ish)](x)", (), "[low-key(ish)](x)"),
    Case("cut off inside the name", " [get_wea", (), " [get_wea", "not complete"),
    Case("cut off behind the name", f"{START}[get_weather", (), f"{START}[get_weather",
         "not complete"),
    Case("cut off inside another name", "[get_cit", (), "[get_cit"),
    Case("cut off", "[get_weather(city='Os", (), "[get_weather(city='Os", "not complete"),
    Case("cut off behind a whole one", f"{ONE[:-1]}, refresh(", [OSLO], ", refresh(",
         "not complete"),
    Case("a call in a call", "[get_weather(city=find(x=1))]", (), "[get_weather(city=find(x=1))]",
         "no literal"),
    Case("an expression", "[get_weather(city='a' + 'b')]", (), "[get_weather(city='a' + 'b')]",
         "no literal"),
    Case("a name as an argument", "[get_weather(city=Oslo)]", (), "[get_weather(city=Oslo)]",
         "no literal"),
    Case("an argument without a name", "[get_weather('Oslo')]", (), "[get_weather('Oslo')]",
         "no name"),
    Case("arguments to unpack", "[get_weather(**{'city': 1})]", (), "[get_weather(**{'city': 1})]",
         "no name"),
    Case("something to fill in", "[get_weather(city=f'{x}')]", (), "[get_weather(city=f'{x}')]",
         "fill in"),
    Case("brackets that do not match", "[get_weather(x=1])]", (), "[get_weather(x=1])]",
         "do not match"),
    Case("a bad call keeps its neighbours", f"[save(x=b'z'), {ONE[1:]}", [OSLO], "save(x=b'z')",
         "no form in JSON"),
    Case("a number too large", f"[save(x=1e999), {ONE[1:]}", [OSLO], "save(x=1e999)", "too large"),
    Case("quotes that do not match", f"{ONE[:-1]}, save(a='x 'y', b='z')]", [OSLO],
         ", save(a='x 'y', b='z')]", "not complete"),
    Case("no Python", f"[save(a=1 2), {ONE[1:]}", [OSLO], "save(a=1 2)", "cannot be read"),
    Case("no call in the list", f"{ONE[:-1]}, 5]", [OSLO], " 5", "no call"),
    Case("too deep", "[save(a=" + "[" * 70 + "]" * 70 + ")]", (),
         "[save(a=" + "[" * 70 + "]" * 70 + ")]", "too deep"),
]  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["pythonic", "llama4_pythonic"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_pythonic(name: str, case: Case) -> None:
    check(name, case, [*TOOLS, {"name": "get-weather"}])


def test_without_tools_the_first_list_counts() -> None:
    check("pythonic", Case("", f"{ONE} [refresh()]", [OSLO], " [refresh()]"), [])


def test_nothing_is_evaluated(capsys: pytest.CaptureFixture[str]) -> None:
    text = "[get_weather(city=print('x'))]"
    check("pythonic", Case("", text, (), text, "no literal"), TOOLS)
    assert capsys.readouterr().out == ""


def test_hostile_text_takes_linear_time() -> None:
    assert_fast(
        "pythonic",
        "[",
        "[save(",
        "[save(text='",
        "[save(text='\\",
        "[save()",
        "[save(text='a' ",
        "[save('''",
        "[a.",
        START,
    )
