"""Calls in the forms that templates read."""

import pytest

from engine.template_calls import CallForm

OBJECTS = CallForm()
TEXTS = CallForm(has_text_arguments=True)
NULLS = CallForm(has_null_content=True)
APART = CallForm(has_null_content=True, has_own_content=True)


def message(arguments, content=""):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"city": "Köln", "n": [1, null]}', {"city": "Köln", "n": [1, None]}),
        ("{}", {}),
        ("", {}),
        (" \n", {}),
        ("{not json", "{not json"),
        ("[1]", "[1]"),
        ("null", "null"),
        ('{"a": NaN}', '{"a": NaN}'),
        ('{"a": 1e999}', '{"a": 1e999}'),
        (r'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
        (r'{"a": "\ud83d"}', r'{"a": "\ud83d"}'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_arguments_become_objects_where_they_are(text, value):
    given = message(text)
    (result,) = OBJECTS.messages(given)
    assert result == message(value)
    assert given == message(text), "the caller's is unchanged"


@pytest.mark.parametrize(
    ("text", "shown"), [('{"a":1}', '{"a":1}'), ("", "{}"), (" ", "{}"), ("{not", "{not")]
)
def test_arguments_that_stay_a_text_are_the_clients_own(text, shown):
    (result,) = TEXTS.messages(message(text))
    assert result == message(shown)


def test_what_is_said_beside_a_call_goes_before_it_where_it_has_to():
    for form in (NULLS, APART):
        (alone,) = form.messages(message("{}"))
        assert alone == message({}, None)
    (together,) = NULLS.messages(message("{}", "let me see"))
    assert together == message({}, "let me see")
    said, called = APART.messages(message("{}", "let me see"))
    assert said == {"role": "assistant", "content": "let me see"}
    assert called == message({}, None)
