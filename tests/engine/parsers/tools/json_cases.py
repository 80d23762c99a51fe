"""Cases that hold for every family that writes calls as JSON, in the family's own wrapping."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools
from engine.parsers.tools import tool_parser

__all__ = ["TOOLS", "Case", "call", "check", "standard_cases"]

TOOLS = [
    {"name": name, "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    for name in ("get_weather", "get_time", "refresh", "save")
]


@dataclass(frozen=True, slots=True)
class Case:
    """`calls` are (name, arguments); a case is malformed if it has an `error`, a part of it."""

    label: str
    text: str
    calls: Sequence[tuple[str, dict[str, Any]]] = ()
    content: str | None = None
    error: str | None = None


def call(name: str, arguments: Any, key: str = "arguments") -> str:
    return json.dumps({"name": name, key: arguments}, ensure_ascii=False)


def check(parser: str, case: Case, tools: Sequence[dict[str, Any]] = TOOLS) -> ParsedTools:
    parsed = tool_parser(parser).parse(case.text, tools)
    found = [(one.name, json.loads(one.arguments)) for one in parsed.calls]
    assert found == list(case.calls)
    assert parsed.content == case.content
    if case.error is None:
        assert parsed.error is None
    else:
        assert case.error in (parsed.error or "")
    return parsed


def standard_cases(
    wrap: Callable[[Sequence[str]], str], *, key: str = "arguments", stops_early: bool = True
) -> list[Case]:
    """`wrap` writes the JSON texts of calls as the family does. `stops_early`: a text that is cut
    inside a call has no call in it (it always has, unless the wrapping allows a look inside).
    """
    weather = call("get_weather", {"city": "Tokyo"}, key)
    nested = {"a": {"b": [1, 2.5, {"c": None}]}, "d": [], "e": {}, "f": True}
    quoted = {"text": 'He said "hi" {x} [y]', "path": "C:\\dir\\f.txt", "lines": "a\nb\tc"}
    many = [weather, call("get_time", {"zone": "Asia/Tokyo"}, key), call("refresh", {}, key)]
    whole = wrap([weather])
    cut = wrap([call("get_weather", {"city": "Tokyo, the capital of Japan"}, key)])
    cut = cut[: cut.index("capital")]
    broken = wrap(['{"name": "get_weather", "' + key + '": {city: Tokyo}}'])
    nameless = wrap(['{"' + key + '": {"city": "Tokyo"}}'])
    return [
        Case("no call", "Tokyo is a city.", content="Tokyo is a city."),
        Case("empty", "", content=None),
        Case("white space", " \n", content=" \n"),
        Case("one", whole, [("get_weather", {"city": "Tokyo"})]),
        Case(
            "several",
            wrap(many),
            [
                ("get_weather", {"city": "Tokyo"}),
                ("get_time", {"zone": "Asia/Tokyo"}),
                ("refresh", {}),
            ],
        ),
        Case("the same twice", wrap([weather, weather]), [("get_weather", {"city": "Tokyo"})] * 2),
        Case("no arguments", wrap([call("refresh", {}, key)]), [("refresh", {})]),
        Case("null arguments", wrap([call("refresh", None, key)]), [("refresh", {})]),
        Case("nested", wrap([call("save", nested, key)]), [("save", nested)]),
        Case("escaped", wrap([call("save", quoted, key)]), [("save", quoted)]),
        Case(
            "unicode",
            wrap([call("save", {"naïve": "東京 🎉 é"}, key)]),
            [("save", {"naïve": "東京 🎉 é"})],
        ),
        Case(
            "escaped unicode",
            wrap(['{"name": "save", "' + key + '": {"t": "\\u6771 \\ud83c\\udf89"}}']),
            [("save", {"t": "東 🎉"})],
        ),
        Case(
            "line break in a string",
            wrap(['{"name": "save", "' + key + '": {"t": "a\nb"}}']),
            [("save", {"t": "a\nb"})],
        ),
        Case(
            "arguments before the name",
            wrap(['{"' + key + '": {"name": "x"}, "name": "save"}']),
            [("save", {"name": "x"})],
        ),
        Case("arguments as text", wrap([call("save", '{"a": 1}', key)]), [("save", {"a": 1})]),
        Case("a name nobody declared", wrap([call("fly", {}, key)]), [("fly", {})]),
        Case(
            "types stay as they are written",
            wrap([call("get_weather", {"city": 3, "days": "3"}, key)]),
            [("get_weather", {"city": 3, "days": "3"})],
        ),
        Case("cut off", cut, content=cut, error="" if stops_early else None),
        Case("malformed", broken, content=broken, error="not valid JSON"),
        Case("nameless", nameless, content=nameless, error="name"),
        Case(
            "arguments that are no object",
            wrap([call("get_weather", ["Tokyo"], key)]),
            content=wrap([call("get_weather", ["Tokyo"], key)]),
            error="no JSON object",
        ),
    ]
