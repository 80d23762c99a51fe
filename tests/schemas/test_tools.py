import pytest

from schemas.chat import parse_chat_request
from tests.schemas.bodies import TOOL, assert_refused, chat

TOOLS = {"tools": [TOOL]}

# Numbers are rows of OpenAI's table of bad inputs. Each: body, code, param, words.
REFUSED = {
    "39 tools []": (chat(tools=[]), "empty_array", "tools", []),
    "39 tools x": (chat(tools="x"), "invalid_type", "tools", []),
    "39 tool x": (chat(tools=["x"]), "invalid_type", "tools[0]", []),
    "40 no type": (chat(tools=[{}]), "missing_required_parameter", "tools[0].type", []),
    "40 no function": (
        chat(tools=[{"type": "function"}]),
        "missing_required_parameter",
        "tools[0].function",
        [],
    ),
    "40 no name": (
        chat(tools=[{"type": "function", "function": {}}]),
        "missing_required_parameter",
        "tools[0].function.name",
        [],
    ),
    "40 blank name": (
        chat(tools=[TOOL, {"type": "function", "function": {"name": ""}}]),
        "empty_string",
        "tools[1].function.name",
        ["Expected a string with minimum length 1"],
    ),
    "40 name with a space": (
        chat(tools=[{"type": "function", "function": {"name": "a b"}}]),
        "invalid_value",
        "tools[0].function.name",
        ["does not match pattern", "^[a-zA-Z0-9_-]+$"],
    ),
    "40 name with a line end": (
        chat(tools=[{"type": "function", "function": {"name": "ab\n"}}]),
        "invalid_value",
        "tools[0].function.name",
        [],
    ),
    "40 long name": (
        chat(tools=[{"type": "function", "function": {"name": "a" * 65}}]),
        "string_above_max_length",
        "tools[0].function.name",
        ["maximum length 64, but got a string with length 65"],
    ),
    "40 unknown key in a function": (
        chat(tools=[{"type": "function", "function": {"name": "a", "paramters": {}}}]),
        "unknown_parameter",
        "tools[0].function.paramters",
        [],
    ),
    "42 tool_choice bogus": (
        chat(tool_choice="bogus", **TOOLS),
        "invalid_value",
        "tool_choice",
        ["Invalid value: 'bogus'. Supported values are: 'none', 'auto', and 'required'."],
    ),
    "42 tool_choice 7": (
        chat(tool_choice=7, **TOOLS),
        "invalid_type",
        "tool_choice",
        ["expected one of a string or object, but got an integer instead"],
    ),
    "42 tool_choice {}": (
        chat(tool_choice={}, **TOOLS),
        "missing_required_parameter",
        "tool_choice.type",
        [],
    ),
    "42 tool_choice without name": (
        chat(tool_choice={"type": "function", "function": {}}, **TOOLS),
        "missing_required_parameter",
        "tool_choice.function.name",
        [],
    ),
    "42 allowed_tools mode": (
        chat(
            tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "x", "tools": []}},
            **TOOLS,
        ),
        "invalid_value",
        "tool_choice.allowed_tools.mode",
        ["'auto' and 'required'"],
    ),
    "functions []": (chat(functions=[]), "empty_array", "functions", []),
}


@pytest.mark.parametrize(("body", "code", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_body_is_refused_as_openai_does(body, code, param, words):
    assert_refused(body, code, param, words)


NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    "choice",
    [
        "none",
        "auto",
        "required",
        NAMED,
        {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [NAMED]}},
    ],
)
def test_every_tool_choice_is_understood(choice):
    request = parse_chat_request(chat(tools=[TOOL], tool_choice=choice))
    parsed = request.tool_choice
    assert (parsed if isinstance(parsed, str) else parsed.model_dump()) == choice


def test_a_custom_tool_is_understood():
    grammar = {"type": "grammar", "grammar": {"definition": "a", "syntax": "regex"}}
    tool = {"type": "custom", "custom": {"name": "c", "format": grammar}}
    choice = {"type": "custom", "custom": {"name": "c"}}
    request = parse_chat_request(chat(tools=[TOOL, tool], tool_choice=choice))
    assert [tool.type for tool in request.tools] == ["function", "custom"]


def test_parameters_are_free_form():
    parameters = {"type": "object", "properties": {"a": {"$ref": "#/x"}}, "anything": [None, 1.5]}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}
    (parsed,) = parse_chat_request(chat(tools=[tool])).tools
    assert parsed.function.parameters == parameters


@pytest.mark.parametrize("choice", ["none", "auto", {"name": "f"}])
def test_deprecated_functions_are_understood(choice):
    request = parse_chat_request(chat(functions=[{"name": "f"}], function_call=choice))
    assert request.functions[0].name == "f"
