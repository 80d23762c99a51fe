"""What holds for every parser, whatever a model writes."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.contract import ParsedTools
from engine.parsers.reasoning import reasoning_parser
from engine.parsers.streaming import AnswerStream
from engine.parsers.tools import tool_parser
from tests.engine.parsers.texts import (
    REASONING_NAMES,
    TOOL_NAMES,
    TextTokenizer,
    output_texts,
    words_of,
)

TOOLS: list[dict[str, Any]] = [
    {
        "name": "f",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}},
    },
    {"name": "g"},
]
EXAMPLES = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def said(parsed: ParsedTools) -> str:
    calls = " ".join(f"{call.name} {call.arguments} {call.id}" for call in parsed.calls)
    return f"{parsed.content} {parsed.reasoning} {calls}"


@pytest.mark.parametrize("name", TOOL_NAMES)
@EXAMPLES
@given(data=st.data())
def test_tool_parsers_take_any_text_and_lose_none(name: str, data: st.DataObject) -> None:
    parser = tool_parser(name)
    assert parser.name == name
    text = data.draw(output_texts(parser))
    for tools in (TOOLS, []):
        parsed = parser.parse(text, tools)
        for call in parsed.calls:
            assert isinstance(json.loads(call.arguments), dict)
            call.arguments.encode()
            assert call.name
        for word in words_of(text):
            assert word in said(parsed)
        if not parsed.calls and not parser.syntax.wraps_answers:
            assert (parsed.content or "") == text
        assert parsed.error is None or parsed.content


@pytest.mark.parametrize("name", REASONING_NAMES)
@EXAMPLES
@given(data=st.data(), is_open=st.sampled_from([True, False, None]))
def test_reasoning_parsers_take_any_text_and_lose_none(
    name: str, data: st.DataObject, is_open: bool | None
) -> None:
    parser = reasoning_parser(name)
    assert parser.name == name
    text = data.draw(output_texts(None, parser))
    split = parser.split(text, is_open=is_open)
    for word in words_of(text):
        assert word in f"{split.reasoning} {split.content}"
    if split.reasoning is not None and len(split.spans) == 1:
        assert text[slice(*split.spans[0])] == split.reasoning
    assert not split.is_open or not split.content


def chunks(text: str, sizes: list[int]) -> list[str]:
    """The text cut into pieces whose sizes repeat."""
    pieces: list[str] = []
    while text:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[:size])
        text = text[size:]
    return pieces


SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=3)
PAIRS = [
    *[(name, "qwen3") for name in TOOL_NAMES],
    *[("hermes", name) for name in REASONING_NAMES],
    ("openai", "openai_gptoss"),
    (None, "granite"),
    ("mistral", "mistral"),
]


@pytest.mark.parametrize(("tools_name", "reasoning_name"), PAIRS)
@EXAMPLES
@given(data=st.data(), with_tools=st.booleans(), sizes=SIZES)
def test_the_pieces_of_a_stream_make_up_the_answer(
    tools_name: str | None,
    reasoning_name: str,
    data: st.DataObject,
    with_tools: bool,
    sizes: list[int],
) -> None:
    tokenizer: Any = TextTokenizer()
    tools = tool_parser(tools_name) if tools_name else None
    reasoning = reasoning_parser(reasoning_name)
    parser = AnswerParser(tokenizer, tools=tools, reasoning=reasoning)
    form = AnswerForm(tools=TOOLS if with_tools else None)
    text = data.draw(output_texts(tools, reasoning))
    whole = parser.read_text(text, form)
    stream = AnswerStream(parser, form)
    deltas = [stream.feed(chunk) for chunk in chunks(text, sizes)]
    deltas.append(stream.finish())
    assert "".join(delta.reasoning for delta in deltas) == (whole.reasoning or "")
    assert "".join(delta.content for delta in deltas) == (whole.content or "")
    assert tuple(call for delta in deltas for call in delta.calls) == whole.calls
    assert stream.answer == whole
