import json

import pytest

from engine.parsers.contract import ToolCall
from engine.parsers.sections import SectionFormat, object_text, read_sections

FORM = SectionFormat(open="<o>", close="</o>", begin="<c>", separator="|", end="</c>")


def read_call(head: str, body: str) -> ToolCall | str:
    return ToolCall(head, body) if body.startswith("{") else f"{head} is no call"


def test_heads_and_bodies_are_handed_over_as_they_stand() -> None:
    parsed = read_sections("a<o><c> f |{1}\n</c>b<c>g|{2}</o>c", FORM, read_call)
    assert parsed.calls == (ToolCall(" f ", "{1}\n"), ToolCall("g", "{2}"))
    assert (parsed.content, parsed.error) == ("abc", None)


def test_what_the_reader_refuses_is_content_with_its_reason() -> None:
    parsed = read_sections("<o><c>f|x</c><c>g|{2}</c></o>", FORM, read_call)
    assert parsed.calls == (ToolCall("g", "{2}"),)
    assert (parsed.content, parsed.error) == ("<c>f|x</c>", "f is no call")


def test_separators_and_ends_outside_of_calls_are_text() -> None:
    parsed = read_sections("a|b</c>c", FORM, read_call)
    assert (parsed.content, parsed.calls, parsed.error) == ("a|b</c>c", (), None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "{}"),
        (" \n", "{}"),
        (' {"a":1,  "b": 2.50} ', '{"a":1,  "b": 2.50}'),
        ('{"é": "\\u00e9"}', '{"é": "\\u00e9"}'),
        ('{"a": "b\nc"}', '{"a": "b\\nc"}'),
        ("[1]", None),
        ("1", None),
        ('"a"', None),
        ("{", None),
        ("{} {}", None),
        ('{"a": NaN}', None),
        ('{"a": 1e999}', None),
        ("[" * 100_000, None),
        ('{"a": ' + "9" * 5000 + "}", None),
    ],
)
def test_object_text(text: str, expected: str | None) -> None:
    assert object_text(text) == expected
    if expected is not None:
        assert isinstance(json.loads(expected), dict)
