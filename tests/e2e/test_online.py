"""Clients that wait: the newest `openai` package, `headrace serve`, a real worker."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import redis

from tests.e2e.command import headrace, wait_for
from tests.e2e.online_site import OnlineSite

pytestmark = [pytest.mark.redis, pytest.mark.slow]

HI = [{"role": "user", "content": "hi"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "maximum": 9, "minimum": 0}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def client(online: OnlineSite) -> Iterator[openai.OpenAI]:
    with _client(online, online.key) as one:
        yield one


def _client(online: OnlineSite, key: str) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{online.url}/v1",
        api_key=key,
        max_retries=0,
        _strict_response_validation=True,
    )


def _chat(client: openai.OpenAI, **parameters: Any) -> Any:
    defaults = {"model": "demo", "messages": HI, "max_tokens": 12, "seed": 7}
    return client.chat.completions.create(**(defaults | parameters))


def test_a_stream_says_what_the_whole_answer_says(client: openai.OpenAI) -> None:
    asked = {
        "n": 2,
        "logprobs": True,
        "top_logprobs": 2,
        "extra_body": {"ignore_eos": True},  # an answer of one word comes in one piece
    }
    whole = _chat(client, **asked)
    chunks = list(_chat(client, **asked, stream=True, stream_options={"include_usage": True}))
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    for choice in whole.choices:
        parts = [each for chunk in chunks for each in chunk.choices if each.index == choice.index]
        assert parts[0].delta.role == "assistant"
        assert all(part.delta.role is None for part in parts[1:])
        assert "".join(part.delta.content or "" for part in parts) == choice.message.content
        assert [part.finish_reason for part in parts[:-1]] == [None] * (len(parts) - 1)
        assert parts[-1].finish_reason == choice.finish_reason
        entries = [entry for part in parts if part.logprobs for entry in part.logprobs.content]
        assert [entry.token for entry in entries] == [
            entry.token for entry in choice.logprobs.content
        ]
        assert len(parts) > 4, "it came in one piece"


def test_the_bytes_of_a_stream_are_server_sent_events(
    client: openai.OpenAI, online: OnlineSite
) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="demo", messages=HI, max_tokens=3, stream=True
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        text = b"".join(reply.iter_bytes()).decode()
    events = text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    for event in events[:-2]:
        assert event == ": ping" or json.loads(event.removeprefix("data: "))["object"] == (
            "chat.completion.chunk"
        )


def test_a_stop_string_is_never_shown(client: openai.OpenAI) -> None:
    text = _chat(client, max_tokens=40).choices[0].message.content
    stop = text[len(text) // 2 : len(text) // 2 + 4]
    whole = _chat(client, max_tokens=40, stop=stop).choices[0]
    parts = [chunk.choices[0] for chunk in _chat(client, max_tokens=40, stop=stop, stream=True)]
    streamed = "".join(part.delta.content or "" for part in parts)
    assert streamed == whole.message.content == text[: text.index(stop)]
    assert parts[-1].finish_reason == "stop"


def test_a_tool_call_comes_as_one_delta(client: openai.OpenAI) -> None:
    choice = {"type": "function", "function": {"name": "add"}}
    asked = {"tools": [TOOL], "tool_choice": choice, "max_tokens": 60}
    whole = _chat(client, **asked).choices[0].message
    parts = [chunk.choices[0] for chunk in _chat(client, **asked, stream=True)]
    calls = [call for part in parts for call in part.delta.tool_calls or ()]
    assert len(calls) == len(whole.tool_calls) == 1
    assert calls[0].index == 0
    assert calls[0].type == "function"
    assert calls[0].function.name == "add"
    assert json.loads(calls[0].function.arguments) == json.loads(
        whole.tool_calls[0].function.arguments
    )


def test_text_completions_stream_too(client: openai.OpenAI) -> None:
    asked = {"model": "demo", "prompt": ["a b", "c"], "n": 2, "max_tokens": 6, "seed": 3}
    whole = client.completions.create(**asked, echo=True)
    loose = openai.OpenAI(base_url=client.base_url, api_key=client.api_key)  # finish_reason is null
    texts: dict[int, str] = {}
    for chunk in loose.completions.create(**asked, echo=True, stream=True):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    assert texts == {choice.index: choice.text for choice in whole.choices}


BAD: dict[str, tuple[dict[str, Any], type[Exception], str | None]] = {
    "value": ({"temperature": 3}, openai.BadRequestError, "decimal_above_max_value"),
    "model": ({"model": "nobody"}, openai.NotFoundError, "model_not_found"),
    "found by the worker": (
        {"messages": [{"role": "user", "content": "hi " * 3000}]},
        openai.BadRequestError,
        "context_length_exceeded",
    ),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("changes", "kind", "code"), BAD.values(), ids=BAD)
def test_a_bad_request_is_an_answer_with_a_status(
    client: openai.OpenAI,
    changes: dict[str, Any],
    kind: type[openai.APIStatusError],
    code: str,
    stream: bool,
) -> None:
    with pytest.raises(kind) as caught:
        _chat(client, stream=stream, **changes)
    assert caught.value.code == code


def _running(online: OnlineSite) -> int:
    with redis.Redis.from_url(online.redis_url) as server:
        return int(server.hget("headrace:{q}:b:online-acme", "jobs:demo") or 0)


LONG = {"max_tokens": 3900, "extra_body": {"ignore_eos": True}}


def test_hanging_up_ends_the_job(client: openai.OpenAI, online: OnlineSite) -> None:
    stream = _chat(client, stream=True, **LONG)
    for _ in zip(range(4), stream, strict=False):
        pass
    stream.close()
    wait_for(lambda: _running(online) == 0, "the end of a stream's job", timeout_s=10)


def test_hanging_up_ends_a_job_that_does_not_stream(online: OnlineSite) -> None:
    body = json.dumps({"model": "demo", "messages": HI, "max_tokens": 3900, "ignore_eos": True})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {online.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", online.port)) as caller:
        caller.sendall((head + body).encode())
        wait_for(lambda: _running(online) == 1, "the job", timeout_s=10)
    wait_for(lambda: _running(online) == 0, "its end", timeout_s=10)


def test_a_tenant_with_too_much_in_work_hears_429(
    client: openai.OpenAI, online: OnlineSite
) -> None:
    streams = [_chat(client, stream=True, **LONG) for _ in range(3)]
    for stream in streams:
        next(iter(stream))
    with pytest.raises(openai.RateLimitError) as caught:
        _chat(client)
    assert caught.value.code == "rate_limit_exceeded"
    assert int(caught.value.response.headers["retry-after"]) > 0
    with _client(online, online.other_key) as other:
        assert _chat(other, max_tokens=1).choices[0].finish_reason == "length"
    for stream in streams:
        stream.close()
    wait_for(lambda: _running(online) == 0, "the end of three jobs", timeout_s=10)


def test_tenants_do_not_see_each_other(client: openai.OpenAI, online: OnlineSite) -> None:
    line = {
        "custom_id": "r",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "demo", "messages": HI, "max_tokens": 1},
    }
    file = client.files.create(file=("in.jsonl", json.dumps(line).encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    with _client(online, online.other_key) as other:
        for call in (
            lambda: other.files.retrieve(file.id),
            lambda: other.files.content(file.id),
            lambda: other.files.delete(file.id),
            lambda: other.batches.retrieve(batch.id),
            lambda: other.batches.cancel(batch.id),
        ):
            with pytest.raises(openai.NotFoundError):
                call()
        assert file.id not in [each.id for each in other.files.list()]
        assert batch.id not in [each.id for each in other.batches.list()]
        stolen = other.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        wait_for(
            lambda: other.batches.retrieve(stolen.id).status == "failed", "a refusal", timeout_s=20
        )
    wait_for(
        lambda: client.batches.retrieve(batch.id).status == "completed", "the batch", timeout_s=20
    )


def test_a_tenants_cached_prefixes_are_its_own(client: openai.OpenAI, online: OnlineSite) -> None:
    asked: dict[str, Any] = {
        "messages": [{"role": "user", "content": "one two three " * 60}],
        "max_tokens": 1,
    }

    def cached(one: openai.OpenAI, **more: Any) -> int:
        return int(_chat(one, **asked, **more).usage.prompt_tokens_details.cached_tokens)

    assert cached(client) == 0
    assert cached(client) > 0
    assert cached(client, extra_body={"cache_salt": "mine"}) == 0
    with _client(online, online.other_key) as other:
        assert cached(other) == 0
        assert cached(other, extra_body={"cache_salt": "\0004:acme:"}) == 0


def test_a_key_that_is_revoked_opens_nothing_at_once(online: OnlineSite) -> None:
    key = headrace("keys", "create", "--redis", online.redis_url, "--label", "short").out.strip()
    with _client(online, key) as client:
        assert client.models.list().data[0].id == "demo"
        listed = headrace("keys", "list", "--redis", online.redis_url, "--json").out
        assert key not in listed
        (entry,) = [each for each in json.loads(listed) if each["label"] == "short"]
        assert headrace("keys", "revoke", entry["key_id"], "--redis", online.redis_url).code == 0
        with pytest.raises(openai.AuthenticationError) as caught:
            client.models.list()
    assert key not in str(caught.value)
    assert caught.value.code == "invalid_api_key"


def test_an_endpoint_for_others_needs_a_key(tmp_path: Any, online: OnlineSite) -> None:
    ended = headrace(
        "serve", "--redis", online.redis_url, "--namespace", "empty", "--host", "0.0.0.0",
        "--port", "0", "--data", str(tmp_path),
    )  # fmt: skip
    assert ended.code == 2
    assert ended.sentence.startswith("headrace: --host 0.0.0.0 lets others in")
    assert "keys create" in ended.sentence


def test_requests_leave_nothing_behind(client: openai.OpenAI, online: OnlineSite) -> None:
    with redis.Redis.from_url(online.redis_url) as server:
        before = server.memory_usage("headrace:{q}:b:online-acme")
        for _ in range(5):
            _chat(client, max_tokens=1)
        assert server.xlen("headrace:{q}:o:online-acme") < 20
        assert 0 < server.ttl("headrace:{q}:o:online-acme") <= 600
        assert server.exists("headrace:{q}:m:online-acme") == 0
        assert server.memory_usage("headrace:{q}:b:online-acme") < before + 200


def test_waiting_clients_are_not_behind_a_batch(client: openai.OpenAI, online: OnlineSite) -> None:
    line = {
        "custom_id": "r",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "demo", "messages": HI, "max_tokens": 200, "ignore_eos": True},
    }
    lines = "\n".join(json.dumps(line | {"custom_id": f"r{n}"}) for n in range(600))
    file = client.files.create(file=("in.jsonl", lines.encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    wait_for(
        lambda: client.batches.retrieve(batch.id).status == "in_progress", "the batch", timeout_s=20
    )
    time.sleep(1)  # the worker's window is full now
    done = threading.Event()
    asking = threading.Thread(target=lambda: (_chat(client, max_tokens=1), done.set()))
    asking.start()
    asking.join(timeout=60)
    counts = client.batches.retrieve(batch.id).request_counts
    assert done.is_set()
    assert counts is not None
    assert counts.completed < 600
    client.batches.cancel(batch.id)
