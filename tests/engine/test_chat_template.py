import json
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from engine.chat_template import ChatOptions, ChatTemplate, read_chat_template
from engine.errors import EngineError, RequestError
from engine.tokenizer import Tokenizer, load_tokenizer
from tests.engine.tiny_tokenizers import tiny_tokenizer

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Für jede Stadt",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": [1, "é"]}'}}
USER = {"role": "user", "content": "hello"}


def _template(source: str | None = None) -> ChatTemplate:
    return ChatTemplate(Tokenizer(tiny_tokenizer("byte_level")), source)


@pytest.fixture(scope="module")
def demo(random_folder: Path) -> ChatTemplate:
    return ChatTemplate(load_tokenizer(random_folder, "demo"))


@pytest.mark.parametrize(
    ("messages", "tools", "kwargs"),
    [
        ([USER], None, {}),
        ([{"role": "system", "content": "be brief"}, USER], TOOLS, {}),
        ([USER, {"role": "assistant", "content": "<think>\nx\n</think>\n\ny"}, USER], None, {}),
        ([USER], None, {"enable_thinking": False}),
        ([USER, {"role": "assistant", "content": "so far"}], TOOLS, {"continue": True}),
    ],
)
def test_prompts_are_those_of_apply_chat_template(
    random_folder: Path, messages: list[Any], tools: list[Any] | None, kwargs: dict[str, Any]
) -> None:
    tokenizer = load_tokenizer(random_folder, "demo")
    kwargs = dict(kwargs)
    continues = kwargs.pop("continue", False)
    expected = tokenizer.hf_tokenizer.apply_chat_template(
        messages,
        tools=tools,
        tokenize=False,
        add_generation_prompt=not continues,
        continue_final_message=continues,
        **kwargs,
    )
    options = ChatOptions(
        add_generation_prompt=not continues, continue_final_message=continues, kwargs=kwargs
    )
    assert ChatTemplate(tokenizer).render(messages, tools, options=options) == expected


def test_the_demo_template_shows_tools_calls_and_their_results(demo: ChatTemplate) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "21"},
        {"role": "tool", "tool_call_id": "c1", "content": "22"},
    ]
    call = '<tool_call>\n{"name": "f", "arguments": {"a": [1, "é"]}}\n</tool_call>'
    text = demo.render(messages, TOOLS)
    assert text.startswith("<|im_start|>system\nbe brief\n\n# Tools")
    assert f"<tools>\n{json.dumps(TOOLS[0], ensure_ascii=False)}\n</tools>" in text
    assert text.endswith(
        f"<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n{call}\n{call}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n21\n</tool_response>"
        "\n<tool_response>\n22\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_demo_template_shows_reasoning_of_the_current_turn_only(demo: ChatTemplate) -> None:
    old = {"role": "assistant", "content": "<think>\nold\n</think>\n\nfirst"}
    new = {"role": "assistant", "content": "calling", "reasoning_content": "new"}
    text = demo.render([USER, old, USER, new])
    assert "old" not in text
    assert "<|im_start|>assistant\nfirst<|im_end|>" in text
    assert "<|im_start|>assistant\n<think>\nnew\n</think>\n\ncalling<|im_end|>" in text


@pytest.mark.parametrize(
    ("effort", "kwargs", "is_closed"),
    [
        (None, {}, False),
        ("none", {}, True),
        ("high", {}, False),
        ("high", {"enable_thinking": False}, True),
        ("none", {"enable_thinking": True}, False),
    ],
)
def test_reasoning_effort_decides_thinking_unless_the_request_does(
    demo: ChatTemplate, effort: str | None, kwargs: dict[str, Any], is_closed: bool
) -> None:
    text = demo.render([USER], options=ChatOptions(reasoning_effort=effort, kwargs=kwargs))
    assert text.endswith("<think>\n\n</think>\n\n") == is_closed


def test_text_parts_are_joined_by_lines() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "refusal", "refusal": "two"}, "three"]
    text = _template("{{ messages[0].content }}").render([{"role": "user", "content": parts}])
    assert text == "one\ntwo\nthree"


def test_templates_that_show_parts_only_get_texts_as_parts() -> None:
    parts = "{% for part in message.content %}{{ part['text'] }}{% endfor %}"
    shown = "{% for message in messages %}{{ message.role }}: CONTENT;{% endfor %}"
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "</s>c"},
    ]
    template = _template(shown.replace("CONTENT", parts))
    tokenizer = Tokenizer(tiny_tokenizer("byte_level"))
    text = "system: be brief;user: a\nb;assistant: </s>c;"
    marked = tokenizer.control_tokens.split(template.render(messages))
    assert (marked.text, marked.has_literals) == (text, True)
    so_far = ChatOptions(add_generation_prompt=False, continue_final_message=True)
    continued = tokenizer.control_tokens.split(template.render(messages, options=so_far))
    assert continued.text == text.removesuffix(";")
    either = "{% if message.content is string %}{{ message.content }}{% else %}no{% endif %}"
    assert _template(shown.replace("CONTENT", either)).render(messages[:1]) == "system: be brief;"


def test_a_message_without_content_has_an_empty_one() -> None:
    template = _template("{{ '[' + messages[0]['content'] + ']' }}")
    assert template.render([{"role": "assistant"}]) == "[]"
    assert template.render([{"role": "assistant", "content": None}]) == "[]"


def test_developer_becomes_system_where_the_template_lacks_it() -> None:
    message = {"role": "developer", "content": "x"}
    assert _template("{{ messages[0].role + messages[0].content }}").render([message]) == "systemx"
    knows = "{% if messages[0].role == 'developer' %}yes{% endif %}"
    assert _template(knows).render([message]) == "yes"


def test_a_template_that_leaves_system_messages_out_refuses_them_by_name() -> None:
    source = "{% for m in messages if m.role != 'system' %}{{ m.role + m.content }}{% endfor %}"
    template = _template(source)
    assert template.render([USER]) == "userhello"
    assert template.render([{"role": "system", "content": ""}, USER]) == "userhello"
    for role in ("system", "developer"):
        with pytest.raises(RequestError, match="no system role") as caught:
            template.render([USER, {"role": role, "content": "be brief"}])
        assert (caught.value.param, caught.value.code) == ("messages[1].role", "unsupported_value")


def test_a_template_that_raises_on_a_system_message_gives_its_own_reason() -> None:
    source = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{{ messages[0].content }}"
    )
    assert _template(source).render([USER]) == "hello"
    with pytest.raises(RequestError, match="System role not supported"):
        _template(source).render([{"role": "system", "content": "be brief"}, USER])


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_of_earlier_turns_is_found_under_both_names(name: str) -> None:
    template = _template("{{ messages[0].reasoning }}|{{ messages[0].reasoning_content }}")
    assert template.render([{"role": "assistant", "content": "a", name: "why"}]) == "why|why"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [('{"a": 1}', "a=1"), ("", ""), ("not json", "raw not json"), ("[1]", "raw [1]")],
)
def test_arguments_of_calls_arrive_as_objects_where_they_are_json(
    arguments: str, shown: str
) -> None:
    source = (
        "{% set a = messages[0].tool_calls[0].function.arguments %}"
        "{% if a is string %}raw {{ a }}{% else %}"
        "{% for k, v in a.items() %}{{ k }}={{ v }}{% endfor %}{% endif %}"
    )
    call = {"type": "function", "function": {"name": "f", "arguments": arguments}}
    assert _template(source).render([{"role": "assistant", "tool_calls": [call]}]) == shown
    assert call["function"] == {"name": "f", "arguments": arguments}, "the caller's is unchanged"


def test_documents_and_variables_reach_the_template() -> None:
    template = _template("{{ documents[0].text }} {{ mood }}")
    options = ChatOptions(documents=[{"text": "facts"}], kwargs={"mood": "calm"})
    assert template.render([USER], options=options) == "facts calm"


def test_special_tokens_in_messages_tools_and_documents_are_marked() -> None:
    template = _template("{{ messages[0].content }}{{ tools[0].x }}{{ documents[0].text }}")
    text = template.render(
        [{"role": "user", "content": "<s>"}],
        [{"x": "<s>"}],
        options=ChatOptions(documents=[{"text": "<s>"}]),
    )
    tokenizer = Tokenizer(tiny_tokenizer("byte_level"))
    assert tokenizer.decode(tokenizer.encode_prompt(text)) == "<s><s><s>"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('no system role here') }}", "no system role here"),
        ("{{ nothing.at.all }}", "undefined"),
        ("{{ messages[0].content + 1 }}", "concatenate"),
        ("{% for x in range(10**9) %}{% endfor %}", "Range too big"),
        ("{{ 1 / 0 }}", "division"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ unclosed", "expected"),
    ],
)
def test_what_goes_wrong_in_a_template_fails_the_request_with_its_reason(
    source: str, message: str
) -> None:
    with pytest.raises(RequestError, match=f"The chat template cannot render.*{message}") as caught:
        _template(source).render([USER])
    assert caught.value.param == "messages"


@pytest.mark.parametrize("name", ["tokenize", "chat_template", "messages", "tools", "conversation"])
def test_reserved_names_are_no_template_variables(name: str) -> None:
    with pytest.raises(RequestError, match=name) as caught:
        _template().render([USER], options=ChatOptions(kwargs={name: "x"}))
    assert caught.value.param == f"chat_template_kwargs.{name}"


def test_opening_a_new_answer_and_continuing_one_exclude_each_other() -> None:
    options = ChatOptions(add_generation_prompt=True, continue_final_message=True)
    with pytest.raises(RequestError, match="not compatible"):
        _template().render([USER], options=options)


def test_a_model_without_a_template_says_what_to_do() -> None:
    bare = tiny_tokenizer("byte_level")
    bare.chat_template = None
    with pytest.raises(RequestError, match="--chat-template"):
        ChatTemplate(Tokenizer(bare)).render([USER])
    assert ChatTemplate(Tokenizer(bare), "{{ messages[0].role }}").render([USER]) == "user"


def test_tools_choose_among_several_templates() -> None:
    tokenizer = tiny_tokenizer("byte_level")
    tokenizer.chat_template = {"default": "plain", "tool_use": "{{ tools[0].function.name }}"}
    template = ChatTemplate(Tokenizer(tokenizer))
    assert template.render([USER]) == "plain"
    assert template.render([USER], []) == "plain"
    assert template.render([USER], TOOLS) == "get_weather"


def test_a_template_file_is_read_and_a_missing_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    path.write_text("{{ messages[0].content }}é", encoding="utf-8")
    assert read_chat_template(str(path)) == "{{ messages[0].content }}é"
    with pytest.raises(EngineError, match=r"missing.jinja"):
        read_chat_template(str(tmp_path / "missing.jinja"))


def test_rendering_does_not_compile_the_template_again(demo: ChatTemplate) -> None:
    """A typical conversation takes about 100 us on one core; compiling takes milliseconds."""
    messages = [{"role": "system", "content": "be brief " * 20}, USER, USER, USER]
    demo.render(messages)
    times = []
    for _ in range(30):
        begin = perf_counter()
        demo.render(messages)
        times.append(perf_counter() - begin)
    assert min(times) < 0.001


RESULT = {"role": "tool", "tool_call_id": "c1", "content": "22"}
# In the manner of DeepSeek's: V3.1 joins the arguments to other texts, R1 also tells a call by a
# content that is null.
V31 = (
    "{% for m in messages %}{% if m.tool_calls is defined %}{% for c in m.tool_calls %}"
    "{{ m.content + '<call>' + c.function.name + '<sep>' + c.function.arguments }}{% endfor %}"
    "{% else %}<{{ m.role }}>{{ m.content }}{% endif %}{% endfor %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'assistant' and m.content is none %}{% for c in m.tool_calls %}"
    "{{ '<call>' + c.type + '<sep>' + c.function.name + '\\n' + c.function.arguments }}{% endfor %}"
    "{% else %}{{ '<' + m.role + '>' + m.content }}{% endif %}{% endfor %}"
)
# A later one of its: calls whatever the content, and then the content unless it is null.
R1_LATER = (
    "{% for m in messages %}{% if m.tool_calls %}{% for c in m.tool_calls %}"
    "{{ '<call>' + c.function.name + '<sep>' + c.function.arguments }}{% endfor %}{% endif %}"
    "{% if m.content is not none %}{{ '<' + m.role + '>' + m.content }}{% endif %}{% endfor %}"
)
# Not DeepSeek's: a content hides the calls.
EITHER = (
    "{% for m in messages %}{% if m.content %}{{ '<' + m.role + '>' + m.content }}{% else %}"
    "{% for c in m.tool_calls %}{{ '<call>' + c.function.name + '<sep>' }}"
    "{{ c.function.arguments | tojson }}{% endfor %}{% endif %}{% endfor %}"
)
# Nothing but a line break depends on null.
LINES = (
    "{% for m in messages %}{% if m.content is not none %}{{ '<' + m.role + '>' + m.content }}\n"
    "{% endif %}{% for c in m.tool_calls or [] %}{{ '<call>' + c.function.name + '<sep>' }}"
    "{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}"
)


@pytest.mark.parametrize(
    ("source", "content", "shown"),
    [
        (R1_LATER, None, '<call>f<sep>{"a": [1, "é"]}'),
        (R1_LATER, "so", '<assistant>so<call>f<sep>{"a": [1, "é"]}'),
        (LINES, None, '<call>f<sep>{"a": [1, "é"]}'),
        (LINES, "so", '<assistant>so<call>f<sep>{"a": [1, "é"]}'),
        (EITHER, None, '<call>f<sep>{"a": [1, "é"]}'),
        (EITHER, "so", '<assistant>so<call>f<sep>{"a": [1, "é"]}'),
        (V31, None, '<call>f<sep>{"a": [1, "é"]}'),
        (V31, "so", 'so<call>f<sep>{"a": [1, "é"]}'),
        (R1, None, '<call>function<sep>f\n{"a": [1, "é"]}'),
        (R1, "so", '<assistant>so<call>function<sep>f\n{"a": [1, "é"]}'),
    ],
)
def test_the_second_turn_of_a_tool_conversation_renders_with_deepseeks_templates(
    source: str, content: str | None, shown: str
) -> None:
    calling = {"role": "assistant", "content": content, "tool_calls": [CALL]}
    text = _template(source).render([USER, calling, RESULT])
    shown = shown.replace("\n", "")
    assert text.removeprefix("<s>").replace("\n", "") == f"<user>hello{shown}<tool>22"
    assert text.startswith("<s>") == (source is R1)


def test_a_call_whose_arguments_would_be_shown_as_python_spells_them_stays_json() -> None:
    source = "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ c.function.arguments }}"
    template = _template(source + "{% endfor %}{% endfor %}")
    calling = {"role": "assistant", "content": "", "tool_calls": [CALL]}
    assert template.render([USER, calling, RESULT]) == '{"a": [1, "é"]}'


def test_a_template_that_leaves_calls_out_refuses_them_by_name() -> None:
    template = _template("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert template.render([USER]) == "hello"
    with pytest.raises(RequestError, match=r"leave the tool calls out.*--chat-template") as caught:
        template.render([USER, {"role": "assistant", "content": "x", "tool_calls": [CALL]}])
    assert caught.value.param == "messages[1].tool_calls"
    assert caught.value.code == "unsupported_value"


def test_a_template_that_leaves_tools_out_refuses_them_unless_a_message_tells_of_them() -> None:
    template = _template("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert template.render([USER], []) == "hello"
    asking = {"role": "user", "content": "get_weather_now"}
    with pytest.raises(RequestError, match=r"'tools' is not supported.*'get_weather'") as caught:
        template.render([asking, {"role": "assistant", "content": "get_weather"}, USER], TOOLS)
    assert (caught.value.param, caught.value.code) == ("tools", "unsupported_parameter")
    telling = {"role": "developer", "content": "Call get_weather(city)."}
    assert template.render([telling, USER], TOOLS) == "Call get_weather(city).hello"
    with pytest.raises(RequestError, match="choose a --tool-call-parser"):
        template.render([telling, USER], TOOLS, options=ChatOptions(finds_calls=False))


def test_a_template_that_leaves_documents_out_refuses_them() -> None:
    options = ChatOptions(documents=[{"text": "facts"}])
    with pytest.raises(RequestError, match="leave the documents out") as caught:
        _template("{{ messages[0].content }}").render([USER], options=options)
    assert (caught.value.param, caught.value.code) == ("documents", "unsupported_parameter")
