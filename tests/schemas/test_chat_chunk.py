import json

import pytest
from openai.types.chat import ChatCompletionChunk as OpenAIChunk

from schemas.chat_chunk import (
    ChatCompletionChunk,
    ChunkChoice,
    Delta,
    DeltaFunction,
    DeltaToolCall,
)
from schemas.chat_response import Usage


def chunk(*choices, usage=None):
    return ChatCompletionChunk(
        id="chatcmpl-1", created=1694268190, model="m", choices=list(choices), usage=usage
    )


def call(**keys):
    return ChunkChoice(index=0, delta=Delta(tool_calls=[DeltaToolCall(index=0, **keys)]))


CHUNKS = {
    "first": (
        chunk(ChunkChoice(index=0, delta=Delta(role="assistant", content=""))),
        {"role": "assistant", "content": ""},
    ),
    "text": (chunk(ChunkChoice(index=0, delta=Delta(content="Hello"))), {"content": "Hello"}),
    "reasoning": (
        chunk(ChunkChoice(index=0, delta=Delta(reasoning="hm"))),
        {"reasoning": "hm", "reasoning_content": "hm"},
    ),
    "call": (
        chunk(call(id="c", type="function", function=DeltaFunction(name="f", arguments=""))),
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "c",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ]
        },
    ),
    "arguments": (
        chunk(call(function=DeltaFunction(arguments='{"ci'))),
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]},
    ),
    "last": (chunk(ChunkChoice(index=0, delta=Delta(), finish_reason="stop")), {}),
}


@pytest.mark.parametrize(("event", "delta"), CHUNKS.values(), ids=CHUNKS.keys())
def test_a_delta_has_only_what_it_adds(event, delta):
    value = json.loads(event.to_json())
    assert value["choices"][0]["delta"] == delta
    assert {"logprobs", "finish_reason"} <= set(value["choices"][0])
    assert value["usage"] is None


@pytest.mark.parametrize("event", [event for event, _ in CHUNKS.values()], ids=CHUNKS.keys())
def test_openais_strict_types_accept_every_chunk(event):
    assert OpenAIChunk.model_validate(json.loads(event.to_json()), strict=True)


def test_the_chunk_with_usage_has_no_choices():
    value = json.loads(chunk(usage=Usage.of(prompt_tokens=9, completion_tokens=1)).to_json())
    assert value["choices"] == []
    assert value["usage"]["total_tokens"] == 10
    assert OpenAIChunk.model_validate(value, strict=True).usage.total_tokens == 10
