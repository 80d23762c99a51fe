import json

import pytest

from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.reasoning import reasoning_parser
from engine.parsers.tools import tool_parser
from tests.engine.parsers.tokenizers import marked_ids, marked_tokenizer

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
