"""Cases that hold for every family that writes arguments one by one, as plain text in markup."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from engine.parsers.tools import tool_parser
from tests.engine.parsers.tools.json_cases import Case

__all__ = ["TOOLS", "Render", "assert_fast", "markup_cases"]

Render = Callable[[Sequence[tuple[str, Sequence[tuple[str, str]]]]], str]
"""Writes calls, each a name and its arguments as text, as the family does."""

_PROPERTIES: dict[str, Any] = {
    "text": {"type": "string"},
    "count": {"type": "integer"},
    "ratio": {"type": "number"},
    "flag": {"type": "boolean"},
    "nothing": {"type": "null"},
    "items": {"type": "array", "items": {"type": "string"}},
    "options": {"type": "object"},
    "maybe_count": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "maybe_text": {"type": ["string", "null"]},
    "unit": {"enum": ["celsius", "kelvin"]},
    "place": {"$ref": "#/$defs/Place"},
    "maybe_place": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}]},
}
TOOLS = [
    {
        "name": "save",
        "parameters": {
            "type": "object",
            "properties": _PROPERTIES,
            "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string"}}}},
        },
    },
    {"name": "refresh", "parameters": {"type": "object", "properties": {}}},
    {"name": "bare"},
]

# label, what the model writes, its value
_TYPED: list[tuple[str, str, str, Any]] = [
    ("an integer", "count", "42", 42),
    ("a negative integer", "count", "-7", -7),
    ("an integer with a fraction of zero", "count", "3.0", 3),
    ("no integer", "count", "many", "many"),
    ("a number", "ratio", "3.25", 3.25),
    ("a whole number", "ratio", "5.0", 5),
    ("a number with an exponent", "ratio", "1e-3", 0.001),
    ("a number too large", "ratio", "1e999", "1e999"),
    ("true", "flag", "true", True),
    ("Python's False", "flag", "False", False),
    ("null", "nothing", "null", None),
    ("a string", "text", "hello world", "hello world"),
    ("a string like a number", "text", "42", "42"),
    ("a string like null", "text", "null", "null"),
    ("a string like JSON", "text", '{"a": 1}', '{"a": 1}'),
    ("quotes and backslashes", "text", 'He said "hi" C:\\new\\t', 'He said "hi" C:\\new\\t'),
    ("signs of markup", "text", "a < b && c > d: <p>&amp;</p>", "a < b && c > d: <p>&amp;</p>"),
    ("lines", "text", "one\n  two\n\nthree", "one\n  two\n\nthree"),
    ("unicode", "text", "東京 🎉 naïve", "東京 🎉 naïve"),
    ("an array", "items", '["a", "b, c"]', ["a", "b, c"]),
    ("an array with constants", "items", '["a", 1, true, null]', ["a", 1, True, None]),
    ("an array that is none", "items", "a, b", "a, b"),
    ("an object", "options", '{"a": {"b": [1, {"c": null}]}}', {"a": {"b": [1, {"c": None}]}}),
    ("an object on lines", "options", '{\n  "a": 1\n}', {"a": 1}),
    ("an object as Python prints it", "options", "{'a': None, 'b': [1]}", {"a": None, "b": [1]}),
    ("Python once more in quotes", "options", "\"{'a': 'b', 'n': 1}\"", {"a": "b", "n": 1}),
    ("an object that calls something", "options", "{'a': open('x')}", "{'a': open('x')}"),
    ("an optional integer", "maybe_count", "5", 5),
    ("an optional integer left out", "maybe_count", "None", None),
    ("an optional string", "maybe_text", "5", "5"),
    ("an optional string left out", "maybe_text", "null", None),
    ("one of an enumeration", "unit", "kelvin", "kelvin"),
    ("a reference", "place", '{"city": "Oslo"}', {"city": "Oslo"}),
    ("an optional reference", "maybe_place", '{"city": "Oslo"}', {"city": "Oslo"}),
    ("an argument nobody declared", "colour", "3", "3"),
]  # fmt: skip


def markup_cases(render: Render, *, strips: bool = True) -> list[Case]:
    """The cases in the family's own markup. `strips`: white space at both ends of the content is
    taken off.
    """
    one = render([("save", [("text", "Oslo")])])
    saved = ("save", {"text": "Oslo"})
    cut = render([("save", [("text", "Oslo, the capital of Norway"), ("count", "1")])])
    cuts = [cut[: cut.index("capital") + 3], cut[: cut.index("count") + 2], cut[: len(one) // 2]]
    return [
        Case("no call", "Oslo is a city.", content="Oslo is a city."),
        Case("nothing", ""),
        Case("white space", " \n", content=" \n"),
        Case("one", one, [saved]),
        Case("several in one answer", one + "\n" + one, [saved, saved]),
        Case(
            "several in one block",
            render([("save", [("text", "Oslo"), ("count", "1")]), ("refresh", []), ("bare", [])]),
            [("save", {"text": "Oslo", "count": 1}), ("refresh", {}), ("bare", {})],
        ),
        Case("no arguments", render([("refresh", [])]), [("refresh", {})]),
        Case("an empty argument", render([("save", [("text", "")])]), [("save", {"text": ""})]),
        Case("no schema at all", render([("bare", [("a", "1")])]), [("bare", {"a": "1"})]),
        Case("a name nobody declared", render([("fly", [("to", "1")])]), [("fly", {"to": "1"})]),
        Case("white space around", f" \n{one}\n ", [saved]),
        Case("text before", f"Saving. {one}", [saved], "Saving." if strips else "Saving. "),
        Case("text after", f"{one} Done.", [saved], "Done." if strips else " Done."),
        Case("text between", f"a {one} b {one} c", [saved, saved], "a  b  c"),
        *[
            Case(label, render([("save", [(name, text)])]), [("save", {name: value})])
            for label, name, text, value in _TYPED
        ],
        *[
            Case(f"cut off {number}", text, content=text, error="")
            for number, text in enumerate(cuts)
        ],
        Case("cut off after a whole one", one + "\n" + cuts[0], [saved], cuts[0], "cut off"),
    ]


def assert_fast(parser: str, *pieces: str) -> None:
    """Each piece, repeated to 200,000 characters, takes less than a second of processor time."""
    for piece in pieces:
        text = piece * (200_000 // len(piece))
        begin = time.process_time()
        tool_parser(parser).parse(text, TOOLS)
        assert time.process_time() - begin < 1, piece
