from typing import Any

import pytest

from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.choice import answer_parser
from engine.parsers.response_template import response_template_parser
from engine.tokenizer import Tokenizer
from tests.engine.parsers.tokenizers import marked_ids, marked_tokenizer

TEMPLATE: dict[str, Any] = {
    "defaults": {"role": "assistant"},
    "start_anchor": "assistant\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"content": "text"},
    },
}
TOOLS = [{"name": "say", "parameters": {"properties": {"n": {"type": "integer"}}}}]
CALL = '{"name": "say", "arguments": {"n": "3"}}'


def with_template(template: Any = TEMPLATE) -> Tokenizer:
    tokenizer = marked_tokenizer()
    tokenizer.hf_tokenizer.response_template = template
    return tokenizer


def parser(template: Any = TEMPLATE) -> AnswerParser:
    return answer_parser(with_template(template), "<tool_call></think>")


def ids(*pieces: str) -> list[int]:
    return marked_ids(marked_tokenizer(), *pieces)


PROMPT = ids("<|im_start|>", "assistant\n")


def test_the_checkpoint_s_template_reads_the_answer() -> None:
    pieces = ("<think>", "hm", "</think>", "hello", "<tool_call>", CALL, "</tool_call>")
    form = AnswerForm(tools=TOOLS, prompt_token_ids=PROMPT)
    assert parser().template_parser is not None
    answer = parser().parse(ids(*pieces), form)
    assert (answer.reasoning, answer.content) == ("hm", "hello")
    assert [(call.name, call.arguments) for call in answer.calls] == [("say", '{"n": 3}')]
    assert answer.num_reasoning_tokens == 2


def test_what_the_prompt_opened_goes_on() -> None:
    form = AnswerForm(prompt_token_ids=[*PROMPT, *ids("<think>", "\n")])
    answer = parser().parse(ids("hm", "</think>", "hello"), form)
    assert (answer.reasoning, answer.content) == ("hm", "hello")


def test_reasoning_in_several_places_is_counted() -> None:
    fields = {**TEMPLATE["fields"], "reasoning_content": {
        "open": "<think>", "close": "</think>", "content": "text", "repeats": True,
    }}  # fmt: skip
    answer = parser({**TEMPLATE, "fields": fields}).parse(
        ids("<think>", "hm", "</think>", "hello", "<think>", "so", "</think>"),
        AnswerForm(prompt_token_ids=PROMPT),
    )
    assert (answer.reasoning, answer.content) == ("hmso", "hello")
    assert answer.num_reasoning_tokens == 4


def test_what_it_cannot_read_is_left_to_the_family() -> None:
    pieces = ("hello", "<tool_call>", "oops", "</tool_call>", "<tool_call>", CALL, "</tool_call>")
    answer = parser().parse(ids(*pieces), AnswerForm(tools=TOOLS, prompt_token_ids=PROMPT))
    assert answer.content == "hello<tool_call>oops</tool_call>"
    assert [call.name for call in answer.calls] == ["say"]
    assert "JSON" in (answer.error or "")


def test_text_on_both_sides_of_a_call_is_kept() -> None:
    pieces = ("hello ", "<tool_call>", CALL, "</tool_call>", " the end")
    answer = parser().parse(ids(*pieces), AnswerForm(tools=TOOLS, prompt_token_ids=PROMPT))
    assert answer.content == "hello the end"


def test_without_tools_a_call_is_text() -> None:
    pieces = ("<tool_call>", CALL, "</tool_call>")
    answer = parser().parse(ids(*pieces), AnswerForm(prompt_token_ids=PROMPT))
    assert (answer.content, answer.calls) == ("".join(pieces), ())


def test_a_written_marker_is_text_here_too() -> None:
    text = f"<tool_call>{CALL}</tool_call>"
    answer = parser().parse(ids(text), AnswerForm(tools=TOOLS, prompt_token_ids=PROMPT))
    assert (answer.content, answer.calls, answer.error) == (text, (), None)


@pytest.mark.parametrize(
    "template",
    [
        None,
        {"fields": {}},
        "nonsense",
        {**TEMPLATE, "fields": {"content": TEMPLATE["fields"]["content"], "x": {"open": "<x>"}}},
        {**TEMPLATE, "fields": {"tool_calls": TEMPLATE["fields"]["tool_calls"]}},
    ],
)
def test_a_template_that_would_lose_text_is_not_used(template: Any) -> None:
    assert response_template_parser(with_template(template)) is None
    assert parser(template).tool_parser is not None


def test_a_flag_switches_it_off() -> None:
    chosen = answer_parser(with_template(), "<tool_call>", tool_call_parser="hermes")
    assert chosen.template_parser is None
