import json
from typing import Any

from jobs.api.answer_chunks import DONE, AnswerChunks
from jobs.online.messages import Accepted, Piece, Step
from schemas.requests import CHAT_URL, COMPLETIONS_URL, ENDPOINTS

HEAD = Accepted(id="chatcmpl-1", created=7, model="m", fingerprint="fp")
USAGE = {
    "prompt_tokens": 1,
    "completion_tokens": 2,
    "total_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(**parameters: Any) -> AnswerChunks:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}
    return AnswerChunks(ENDPOINTS[CHAT_URL].parse(body | parameters))


def response(*messages: dict[str, Any], finish_reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "created": 7,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [
            {"index": index, "message": message, "finish_reason": finish_reason, "logprobs": None}
            for index, message in enumerate(messages)
        ],
        "usage": USAGE,
    }


def parse(events: list[bytes]) -> list[dict[str, Any]]:
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in events)
    return [json.loads(event[6:]) for event in events if event != DONE]


def step(number: int, **piece: Any) -> Step:
    return Step(attempt=1, number=number, pieces=(Piece(index=0, **piece),))


def test_the_chunks_are_the_specifications_own() -> None:
    chunks = chat(stream_options={"include_usage": True})
    events = [
        *chunks.accept(HEAD),
        *chunks.follow(step(0, content="Hello")),
        *chunks.end(response({"content": "Hello"})),
    ]
    same = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "system_fingerprint": "fp",
    }
    choice = {"index": 0, "logprobs": None, "finish_reason": None}
    assert parse(events) == [
        {**same, "choices": [{**choice, "delta": {"role": "assistant", "content": ""}}]}
        | {"usage": None},
        {**same, "choices": [{**choice, "delta": {"content": "Hello"}}], "usage": None},
        {**same, "choices": [{**choice, "delta": {}, "finish_reason": "stop"}], "usage": None},
        {**same, "choices": [], "usage": USAGE},
    ]
    assert events[-1] == DONE


def test_usage_comes_only_if_it_was_asked_for() -> None:
    chunks = chat()
    events = parse([*chunks.accept(HEAD), *chunks.end(response({"content": "x"}))])
    assert all(event["choices"] for event in events)


def test_an_answer_of_which_nothing_was_heard_comes_whole() -> None:
    chunks = chat(n=2)
    assert list(chunks.follow(step(3, content="lost"))) == []
    events = parse(list(chunks.end(response({"content": "a"}, {"content": "b"}))))
    deltas = [(each["index"], each["delta"]) for event in events for each in event["choices"]]
    assert deltas == [
        (0, {"role": "assistant", "content": ""}),
        (1, {"role": "assistant", "content": ""}),
        (0, {"content": "a"}),
        (0, {}),
        (1, {"content": "b"}),
        (1, {}),
    ]


def test_calls_are_numbered_and_come_whole_with_reasoning_under_both_names() -> None:
    chunks = chat()
    second = CALL | {"id": "call_2"}
    message = {"content": None, "reasoning": "why", "tool_calls": [CALL, second]}
    events = [
        *chunks.accept(HEAD),
        *chunks.follow(step(0, reasoning="why", calls=(CALL,))),
        *chunks.end(response(message, finish_reason="tool_calls")),
    ]
    _, first, rest, last = parse(events)
    delta = first["choices"][0]["delta"]
    assert delta["reasoning"] == delta["reasoning_content"] == "why"
    assert delta["tool_calls"] == [{"index": 0, **CALL}]
    assert rest["choices"][0]["delta"] == {"tool_calls": [{"index": 1, **second}]}
    assert last["choices"][0]["finish_reason"] == "tool_calls"


def test_an_answer_that_came_out_differently_ends_in_an_error() -> None:
    chunks = chat()
    events = [
        *chunks.accept(HEAD),
        *chunks.follow(step(0, content="one")),
        *chunks.end(response({"content": "two"})),
    ]
    assert parse(events)[-1]["error"]["type"] == "server_error"
    assert events[-1] == DONE


def test_text_completions_have_no_roles_and_log_probabilities_with_their_text() -> None:
    body = {"model": "m", "prompt": "x", "stream": True, "logprobs": 1}
    chunks = AnswerChunks(ENDPOINTS[COMPLETIONS_URL].parse(body))
    logprobs = {
        "tokens": ["a"],
        "token_logprobs": [-1.0],
        "top_logprobs": [{"a": -1.0}],
        "text_offset": [0],
    }
    choices = [{"index": 0, "text": "a", "logprobs": logprobs, "finish_reason": "length"}]
    answer = response() | {"choices": choices}
    events = parse([*chunks.accept(HEAD), *chunks.end(answer)])
    assert {event["object"] for event in events} == {"text_completion"}
    assert [event["choices"][0] for event in events] == [
        {"text": "a", "index": 0, "logprobs": logprobs, "finish_reason": None},
        {"text": "", "index": 0, "logprobs": None, "finish_reason": "length"},
    ]


def test_the_last_chunk_of_a_choice_says_what_stopped_it() -> None:
    body = {"model": "m", "prompt": "x", "stream": True}
    text = AnswerChunks(ENDPOINTS[COMPLETIONS_URL].parse(body))
    for chunks, of in ((chat(n=2), lambda said: {"message": {"content": said}}), (text, _text)):
        answer = response({}, {})
        for choice, stop_reason in zip(answer["choices"], (".", 0), strict=True):
            choice |= of("said") | {"stop_reason": stop_reason}
        choices = [event["choices"][0] for event in parse(list(chunks.end(answer)))]
        last = [choice for choice in choices if choice["finish_reason"]]
        assert [choice["stop_reason"] for choice in last] == [".", 0]
        assert all("stop_reason" not in choice for choice in choices if choice not in last)


def _text(said: str) -> dict[str, Any]:
    return {"text": said}
