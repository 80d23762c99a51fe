import pytest

from tests.schemas.bodies import CALL, TOOL, USER, assert_refused, chat, talk

TOOLS = {"tools": [TOOL]}

JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}

# Numbers are rows of OpenAI's table of bad inputs. Each: body, code, param, words.
REFUSED = {
    "13 tool without call": (
        talk(USER, {"role": "tool", "content": "x", "tool_call_id": "a"}),
        "invalid_value",
        "messages[1].role",
        ["must be a response to a preceding message with 'tool_calls'"],
    ),
    "13 tool with another id": (
        talk(
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "content": "x", "tool_call_id": "call_9"},
        ),
        "invalid_value",
        "messages[1].tool_call_id",
        ["'call_9' not found"],
    ),
    "13 tool after a user spoke": (
        talk(
            {"role": "assistant", "tool_calls": [CALL]},
            USER,
            {"role": "tool", "content": "x", "tool_call_id": "call_1"},
        ),
        "invalid_value",
        "messages[2].role",
        [],
    ),
    "28 top_logprobs alone": (
        chat(top_logprobs=3),
        None,
        "top_logprobs",
        ["The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."],
    ),
    "28 top_logprobs, logprobs off": (
        chat(top_logprobs=3, logprobs=False),
        None,
        "top_logprobs",
        [],
    ),
    "29 top_logprobs 21": (
        chat(logprobs=True, top_logprobs=21),
        None,
        "top_logprobs",
        ["must be less than or equal to 20", "21"],
    ),
    "32 stream_options alone": (
        chat(stream_options={"include_usage": True}),
        None,
        "stream_options",
        ["only allowed when 'stream' is enabled"],
    ),
    "41 tool_choice alone": (
        chat(tool_choice="auto"),
        None,
        "tool_choice",
        ["'tool_choice' is only allowed when 'tools' are specified."],
    ),
    "43 undeclared tool": (
        chat(tool_choice={"type": "function", "function": {"name": "g"}}, **TOOLS),
        None,
        "function_call",
        ["tool_choice", "'g'"],
    ),
    "43 undeclared custom tool": (
        chat(tool_choice={"type": "custom", "custom": {"name": "f"}}, **TOOLS),
        None,
        "function_call",
        ["no custom named 'f'"],
    ),
    "43 undeclared allowed tool": (
        chat(
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "g"}}],
                },
            },
            **TOOLS,
        ),
        None,
        "tool_choice",
        ["'g'"],
    ),
    "44 parallel_tool_calls alone": (
        chat(parallel_tool_calls=True),
        None,
        "parallel_tool_calls",
        ["'parallel_tool_calls' is only allowed when 'tools' are specified."],
    ),
    "47 two constraints": (
        chat(structured_outputs={"regex": "a", "choice": ["b"]}),
        "invalid_value",
        "structured_outputs",
        ["'structured_outputs.regex' and 'structured_outputs.choice'"],
    ),
    "white space of no form": (
        chat(guided_whitespace_pattern=" "),
        "invalid_value",
        "guided_whitespace_pattern",
        ["does not ask for JSON"],
    ),
    "white space of a pattern": (
        chat(structured_outputs={"regex": "a", "whitespace_pattern": " "}),
        "invalid_value",
        "structured_outputs.whitespace_pattern",
        ["does not ask for JSON"],
    ),
    "no white space of a choice": (
        chat(structured_outputs={"choice": ["a"], "disable_any_whitespace": True}),
        "invalid_value",
        "structured_outputs.disable_any_whitespace",
        [],
    ),
    "properties of a grammar": (
        chat(structured_outputs={"grammar": "a", "disable_additional_properties": True}),
        "invalid_value",
        "structured_outputs.disable_additional_properties",
        [],
    ),
    "two rules for white space": (
        chat(
            structured_outputs={"json": {}, "whitespace_pattern": " "},
            guided_whitespace_pattern=" ",
        ),
        "invalid_value",
        "guided_whitespace_pattern",
        ["'guided_whitespace_pattern' and 'structured_outputs.whitespace_pattern'"],
    ),
    "47 two guided": (
        chat(guided_regex="a", guided_json={}),
        "invalid_value",
        "guided_json",
        ["'guided_json' and 'guided_regex'"],
    ),
    "47 guided and response_format": (
        chat(guided_regex="a", response_format=JSON_SCHEMA),
        "invalid_value",
        "guided_regex",
        ["'response_format'"],
    ),
    "47 no constraint": (
        chat(structured_outputs={"json_object": False}),
        "missing_required_parameter",
        "structured_outputs",
        ["'json', 'regex'"],
    ),
    "47 min_tokens": (
        chat(min_tokens=5, max_tokens=4),
        "invalid_value",
        "min_tokens",
        ["at most the token limit 4, but got 5"],
    ),
    "47 min_tokens, the limit that wins": (
        chat(min_tokens=5, max_tokens=9, max_completion_tokens=4),
        "invalid_value",
        "min_tokens",
        [],
    ),
    "function_call alone": (
        chat(function_call="auto"),
        None,
        "function_call",
        ["only allowed when 'functions'"],
    ),
    "two endings": (
        chat(continue_final_message=True, add_generation_prompt=True),
        "invalid_value",
        "continue_final_message",
        ["add_generation_prompt"],
    ),
    "messages as a template variable": (
        chat(chat_template_kwargs={"messages": []}),
        "invalid_value",
        "chat_template_kwargs.messages",
        [],
    ),
}


@pytest.mark.parametrize(("body", "code", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_body_is_refused_as_openai_does(body, code, param, words):
    assert_refused(body, code, param, words)
