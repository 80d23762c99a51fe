import json
from typing import Any

import pytest

from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.output import GUARD
from engine.parsers.reasoning import reasoning_parser
from engine.parsers.streaming import AnswerStream
from engine.parsers.token_stream import TokenStream
from engine.parsers.tools import tool_parser
from tests.engine.parsers.tokenizers import marked_ids, marked_tokenizer

TOOLS = [{"name": "say"}, {"name": "end"}]
CALL = '{"name": "say", "arguments": {"text": "hello"}}'


def parser() -> AnswerParser:
    return AnswerParser(
        marked_tokenizer(), tools=tool_parser("hermes"), reasoning=reasoning_parser("qwen3")
    )


def ids(*pieces: str) -> list[int]:
    return marked_ids(marked_tokenizer(), *pieces)


def sent(text: str, form: AnswerForm, size: int = 1) -> list[Any]:
    stream = AnswerStream(parser(), form)
    deltas = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return [delta for delta in [*deltas, stream.finish()] if delta]


def test_a_stream_sends_text_at_once_and_a_call_when_it_is_complete() -> None:
    block = f"<tool_call>{CALL}</tool_call>"
    deltas = sent(f"<think>hm</think>Hello you {block}{block} ok", AnswerForm(tools=TOOLS))
    assert [delta.reasoning for delta in deltas][:2] == ["h", "m"]
    texts = "".join(delta.content for delta in deltas)
    assert texts == "Hello you  ok"
    assert [len(delta.calls) for delta in deltas if delta.calls] == [1, 1]
    assert [delta.first_call for delta in deltas if delta.calls] == [0, 1]
    first = next(index for index, delta in enumerate(deltas) if delta.calls)
    assert "".join(delta.content for delta in deltas[:first]) == "Hello you"
    assert deltas[-1].content == "  ok"


def test_a_stream_never_sends_a_part_of_a_tag() -> None:
    stream = AnswerStream(parser(), AnswerForm(tools=TOOLS))
    assert stream.feed("<think>a < b</thin").reasoning == "a < b"
    assert stream.feed("k").reasoning == ""
    assert stream.feed(" </think>x <tool_ca").reasoning == "</think "
    assert not stream.feed("l")
    assert stream.feed("f y").content == " <tool_calf y"
    assert not stream.feed("<tool_call>{")
    assert stream.finish().content == "<tool_call>{"


def test_a_stream_of_plain_text_is_not_held_back() -> None:
    form = AnswerForm(prompt_token_ids=ids("</think>"))
    assert [delta.content for delta in sent("abc d", form)] == list("abc d")


def test_an_unknown_function_s_call_comes_as_text_at_the_end() -> None:
    text = 'a <tool_call>{"name": "fly", "arguments": {}}</tool_call>'
    form = AnswerForm(tools=TOOLS, prompt_token_ids=ids("</think>"))
    deltas = sent(text, form)
    assert "".join(delta.content for delta in deltas) == text
    assert not any(delta.calls for delta in deltas)


def test_a_thought_that_a_call_ends_is_sent_up_to_the_call() -> None:
    text = f"<think>I look.<tool_call>{CALL}</tool_call>"
    deltas = sent(text, AnswerForm(tools=TOOLS))
    assert "".join(delta.reasoning for delta in deltas) == "I look."
    assert [call.name for delta in deltas for call in delta.calls] == ["say"]


@pytest.mark.parametrize(
    "pieces",
    [
        ("<think>", "a thought", "</think>", "the text", "<tool_call>", CALL, "</tool_call>"),
        ("the <tool_call> is", "<tool_call>", CALL, "</tool_call>", " so"),
        ("<think>", "the </think", "> end", "</think>", "hello"),
        ("<tool_call>", '{"name": "say", "arguments": {"t": "<tool_call>"}}', "</tool_call>"),
        ("<think>", "cut"),
        ("<think>", f"a{GUARD}", "</think>", f"b{GUARD}{GUARD} <{GUARD}tool_call> <tool_call>"),
        ("a", "<tool_call>", f'{{"name": "say", "arguments": {{"t": "{GUARD}"}}}}', "</tool_call>"),
        ("\n", "<think>", "\n", "</think>", "\n\nhello \n"),
        (),
    ],
)
@pytest.mark.parametrize("kind", ["byte_level", "metaspace"])
def test_token_by_token_is_the_same_answer(kind: str, pieces: tuple[str, ...]) -> None:
    tokenizer = marked_tokenizer(kind)
    parser = AnswerParser(
        tokenizer, tools=tool_parser("hermes"), reasoning=reasoning_parser("qwen3")
    )
    token_ids = marked_ids(tokenizer, *pieces)
    form = AnswerForm(tools=TOOLS)
    whole = parser.parse(token_ids, form)
    texts = TokenStream(tokenizer, parser.reader(form))
    stream = AnswerStream(parser, form, GUARD)
    deltas = [stream.feed(texts.feed([token_id])) for token_id in token_ids]
    deltas += [stream.feed(texts.finish()), stream.finish()]
    assert "".join(delta.reasoning for delta in deltas) == (whole.reasoning or "")
    assert "".join(delta.content for delta in deltas) == (whole.content or "")
    calls = [json.loads(call.arguments) for delta in deltas for call in delta.calls]
    assert calls == [json.loads(call.arguments) for call in whole.calls]


HARMONY = AnswerParser(
    marked_tokenizer(), tools=tool_parser("openai"), reasoning=reasoning_parser("openai_gptoss")
)
ANALYSIS = "<|channel|>analysis<|message|>Hm < 5.<|end|><|start|>assistant"
PREAMBLE = "<|channel|>commentary<|message|>Wait.<|end|><|start|>assistant"
FINAL = "<|channel|>final<|message|>It is 5 <|3."
SAY = '<|channel|>commentary to=functions.say <|constrain|>json<|message|>{"text": "x"}<|call|>'
FLY = SAY.replace("say", "fly")


def sent_harmony(text: str, form: AnswerForm, size: int = 1) -> list[Any]:
    stream = AnswerStream(HARMONY, form)
    deltas = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return [*deltas, stream.finish()]


def test_channels_are_sent_as_they_come() -> None:
    deltas = sent_harmony(ANALYSIS + PREAMBLE + FINAL, AnswerForm(tools=TOOLS))
    early = deltas[:-1]
    assert "".join(delta.reasoning for delta in early) == "Hm < 5."
    assert "".join(delta.content for delta in early) == "Wait.\nIt is 5 <|3."
    # One character at a time, but for what may be the beginning of a marker.
    assert sum(bool(delta.content) for delta in early) > 12
    assert max(len(delta.content) for delta in early) <= 4


@pytest.mark.parametrize("tools", [None, TOOLS])
@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    "text",
    [
        ANALYSIS + FINAL,
        ANALYSIS + PREAMBLE + SAY,
        PREAMBLE + FLY,
        PREAMBLE + FLY + "<|start|>assistant" + FINAL,
        ANALYSIS + PREAMBLE + ANALYSIS + FINAL + "<|return|>",
        "no channel at all",
        "no channel " + FINAL,
        "<|channel|>final<|message|>\n \n",
        "<|channel|>final<|message|>\n \nx",
        "<|channel|>analysis<|message|> \n<|end|><|start|>assistant" + FINAL,
        "<|channel|>final stray<|message|>x",
        PREAMBLE + "<|channel|>comment",
        "<|channel|>commentary to=functions.say <|message|>{broken",
        "",
    ],
)
def test_pieces_of_channels_say_what_the_whole_answer_says(
    text: str, size: int, tools: list[dict[str, Any]] | None
) -> None:
    form = AnswerForm(tools=tools)
    whole = HARMONY.read_text(text, form)
    deltas = sent_harmony(text, form, size)
    assert "".join(delta.reasoning for delta in deltas) == (whole.reasoning or "")
    assert "".join(delta.content for delta in deltas) == (whole.content or "")
    assert [call.name for delta in deltas for call in delta.calls] == [
        call.name for call in whole.calls
    ]


def test_a_call_of_an_unknown_function_leaves_the_messages_around_it_alone() -> None:
    answer = HARMONY.read_text(PREAMBLE + FLY, AnswerForm(tools=TOOLS))
    assert answer.content is not None
    assert answer.content.startswith(
        "Wait.\n<|start|>assistant<|channel|>commentary to=functions.fly"
    )
    assert answer.error == "the request has no tool 'fly'"
