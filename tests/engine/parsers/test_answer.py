import json
from typing import Any

import pytest

from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.reasoning import reasoning_parser
from engine.parsers.tools import tool_parser
from engine.tokenizer import Tokenizer
from tests.engine.parsers.tokenizers import marked_ids, marked_tokenizer, spelled_ids

TOOLS = [{"name": "say"}, {"name": "end"}]
CALL = '{"name": "say", "arguments": {"text": "hello"}}'


def parser(*, special: bool = False) -> AnswerParser:
    return AnswerParser(
        marked_tokenizer(special=special),
        tools=tool_parser("hermes"),
        reasoning=reasoning_parser("qwen3"),
    )


def ids(*pieces: str, special: bool = False) -> list[int]:
    return marked_ids(marked_tokenizer(special=special), *pieces)


@pytest.mark.parametrize("special", [False, True])
def test_reasoning_content_and_calls_in_one_pass(special: bool) -> None:
    pieces = ("<think>", "a thought", "</think>", "the text", "<tool_call>", CALL, "</tool_call>")
    form = AnswerForm(tools=TOOLS)
    answer = parser(special=special).parse(ids(*pieces, special=special), form)
    assert answer.reasoning == "a thought"
    assert answer.content == "the text"
    assert [(call.name, json.loads(call.arguments)) for call in answer.calls] == [
        ("say", {"text": "hello"})
    ]
    assert answer.num_reasoning_tokens == len(ids("a thought"))
    assert answer.error is None


def test_a_marker_in_plain_letters_calls_nothing() -> None:
    written = f"<think>not</think><tool_call>{CALL}</tool_call>"
    form = AnswerForm(tools=TOOLS, prompt_token_ids=ids("<think>", "\n", "</think>", "\n\n"))
    answer = parser().parse(ids(written), form)
    assert (answer.content, answer.reasoning, answer.calls) == (written, None, ())
    assert answer.error is None


def test_arguments_that_quote_a_marker_come_back_clean() -> None:
    call = '{"name": "say", "arguments": {"text": "<tool_call>"}}'
    answer = parser().parse(
        ids("</think>", "<tool_call>", call, "</tool_call>"), AnswerForm(tools=TOOLS)
    )
    assert json.loads(answer.calls[0].arguments) == {"text": "<tool_call>"}


def test_a_call_of_an_unknown_function_is_text() -> None:
    bad = '{"name": "fly", "arguments": {}}'
    pieces = ("</think>", "<tool_call>", bad, "</tool_call>", "<tool_call>", CALL, "</tool_call>")
    answer = parser().parse(ids(*pieces), AnswerForm(tools=TOOLS))
    assert [call.name for call in answer.calls] == ["say"]
    assert answer.content == "".join(pieces[1:])
    assert answer.error == "the request has no tool 'fly'"


def test_without_tools_nothing_is_called() -> None:
    answer = parser().parse(
        ids("</think>", "<tool_call>", CALL, "</tool_call>"), AnswerForm(tools=None)
    )
    assert answer.calls == ()
    assert answer.content == f"<tool_call>{CALL}</tool_call>"


@pytest.mark.parametrize(
    ("prompt", "is_continued", "is_open"),
    [
        (("<|im_start|>", "assistant\n", "<think>", "\n"), False, True),
        (("assistant\n", "<think>", "\n\n", "</think>", "\n\n"), False, False),
        (("user\n", "<think>", "assistant\n"), False, None),
        (("assistant\n", "<think>", "so far"), True, True),
        (("assistant\n", "<think>", "so far", "</think>", "the answer"), True, False),
        (("assistant\n", "the answer"), True, None),
        ((), False, None),
    ],
)
def test_the_prompt_says_whether_the_reasoning_is_open(
    prompt: tuple[str, ...], is_continued: bool, is_open: bool | None
) -> None:
    form = AnswerForm(prompt_token_ids=ids(*prompt), is_continued=is_continued)
    assert parser().reasoning_is_open(form) is is_open


def test_an_output_that_is_all_reasoning_has_no_content() -> None:
    answer = parser().parse(ids("<think>", "cut"), AnswerForm())
    assert (answer.content, answer.reasoning, answer.num_reasoning_tokens) == (None, "cut", 3)


def test_an_empty_output_is_an_empty_text() -> None:
    form = AnswerForm(prompt_token_ids=ids("<think>", "</think>"))
    assert parser().parse([], form).content == ""


@pytest.mark.parametrize(("num_hidden", "content"), [(0, "the end of"), (6, "the "), (99, "")])
def test_what_a_stop_string_takes_away_is_not_shown(num_hidden: int, content: str) -> None:
    form = AnswerForm(prompt_token_ids=ids("</think>"), num_hidden_characters=num_hidden)
    assert parser().parse(ids("the end of"), form).content == content


def test_guards_are_no_characters_that_are_taken_away() -> None:
    form = AnswerForm(prompt_token_ids=ids("</think>"), num_hidden_characters=12)
    assert parser().parse(ids("the <tool_call>."), form).content == "the "


def test_parsers_that_are_not_there_are_not_needed() -> None:
    tokenizer = marked_tokenizer()
    tools = AnswerParser(tokenizer, tools=tool_parser("hermes"))
    assert tools.needs(AnswerForm(tools=TOOLS))
    assert not tools.needs(AnswerForm())
    assert not AnswerParser(tokenizer).needs(AnswerForm(tools=TOOLS))
    assert AnswerParser(tokenizer, reasoning=reasoning_parser("qwen3")).needs(AnswerForm())
    assert AnswerParser(tokenizer, tools=tool_parser("openai")).needs(AnswerForm())


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("ernie45", "t</think>\n<response>\nb\n</response>\n<tool_call>{call}</tool_call>"),
        (
            "hunyuan_a13b",
            "<think>t</think><answer>b</answer>\n<tool_calls>[{call}]</tool_calls>",
        ),
    ],
)
def test_a_wrapped_answer_in_front_of_calls_is_unwrapped(family: str, text: str) -> None:
    reader = AnswerParser(
        marked_tokenizer(), tools=tool_parser(family), reasoning=reasoning_parser(family)
    )
    answer = reader.read_text(text.replace("{call}", CALL), AnswerForm(tools=TOOLS))
    assert (answer.reasoning, answer.content) == ("t", "b")
    assert [call.name for call in answer.calls] == ["say"]
    assert answer.error is None


def test_heads_of_messages_are_known_where_answers_are_wrapped() -> None:
    tokenizer: Any = marked_tokenizer().hf_tokenizer
    tokenizer.add_tokens(["<|start|>", "<|channel|>", "<|message|>"])
    harmony = Tokenizer(tokenizer)
    heads = AnswerParser(harmony, tools=tool_parser("openai")).heads
    assert heads is not None
    ids = harmony.added_token_ids
    assert (heads.end, heads.marks) == (
        ids["<|message|>"],
        {ids["<|start|>"], ids["<|channel|>"]},
    )
    assert AnswerParser(harmony, tools=tool_parser("hermes")).heads is None
    assert AnswerParser(harmony, tools=tool_parser("hermes")).finds_calls
    assert not AnswerParser(harmony, reasoning=reasoning_parser("qwen3")).finds_calls
    assert AnswerParser(marked_tokenizer(), tools=tool_parser("openai")).heads is None


def test_reasoning_that_only_harmonys_calls_are_read_from_is_counted() -> None:
    text = (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>hello"
    )
    tokenizer = marked_tokenizer()
    for thoughts in (None, reasoning_parser("openai_gptoss")):
        reader = AnswerParser(tokenizer, tools=tool_parser("openai"), reasoning=thoughts)
        answer = reader.parse(spelled_ids(tokenizer, text), AnswerForm())
        assert (answer.reasoning, answer.content) == ("hm", "hello")
        assert answer.num_reasoning_tokens == 2
