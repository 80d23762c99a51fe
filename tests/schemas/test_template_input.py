import copy

import pytest

from schemas.template_input import template_message, template_tool


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}),
        ({"role": "user", "content": None}, {"role": "user", "content": ""}),
        ({"role": "user"}, {"role": "user", "content": ""}),
        (
            {"role": "system", "content": "s", "name": "n"},
            {"role": "system", "content": "s", "name": "n"},
        ),
        ({"role": "developer", "content": "d"}, {"role": "developer", "content": "d"}),
        (
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {"role": "user", "content": "a\nb"},
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "assistant", "content": "no"},
        ),
        (
            {"role": "assistant", "content": None, "refusal": "no", "annotations": []},
            {"role": "assistant", "content": "no"},
        ),
        (
            {"role": "assistant", "content": "x", "refusal": None, "audio": {"id": "a"}},
            {"role": "assistant", "content": "x"},
        ),
        (
            {"role": "assistant", "content": "x", "reasoning": "r"},
            {"role": "assistant", "content": "x", "reasoning": "r", "reasoning_content": "r"},
        ),
        (
            {"role": "assistant", "content": "x", "reasoning_content": "r"},
            {"role": "assistant", "content": "x", "reasoning": "r", "reasoning_content": "r"},
        ),
        (
            {"role": "tool", "content": "5", "tool_call_id": "c"},
            {"role": "tool", "content": "5", "tool_call_id": "c"},
        ),
        (
            {"role": "function", "content": "5", "name": "f"},
            {"role": "tool", "content": "5", "name": "f"},
        ),
    ],
)
def test_messages_become_what_templates_know(message, expected):
    before = copy.deepcopy(message)
    assert template_message(message) == expected
    assert message == before


@pytest.mark.parametrize(
    "text", ['{"city": "Köln", "n": [1, null]}', "", " \n", "{not json", "[1]"]
)
def test_arguments_stay_the_text_that_the_client_wrote(text):
    call = {"id": "a", "type": "function", "function": {"arguments": text, "name": "f"}}
    message = {"role": "assistant", "tool_calls": [call]}
    (result,) = template_message(message)["tool_calls"]
    assert result["function"] == {"arguments": text, "name": "f"}
    assert list(result["function"]) == ["arguments", "name"]


def test_an_old_function_call_becomes_a_tool_call():
    message = {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a": 1}'}}
    assert template_message(message) == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }


def test_absent_tool_calls_stay_absent():
    assert "tool_calls" not in template_message(
        {"role": "assistant", "content": "x", "tool_calls": None}
    )


def test_tools_lose_only_keys_that_are_null():
    tool = {
        "type": "function",
        "function": {"name": "f", "strict": None, "parameters": {"default": None}},
    }
    before = copy.deepcopy(tool)
    assert template_tool(tool) == {
        "type": "function",
        "function": {"name": "f", "parameters": {"default": None}},
    }
    assert tool == before
