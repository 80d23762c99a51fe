import asyncio
import random
import socket
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

import jobs.redis_calls
from jobs.errors import RedisConfigError
from jobs.keys import Keys
from jobs.redis_calls import RedisCalls
from jobs.retrying import Retrying, is_passing
from jobs.server import connect


async def test_plain_commands_give_their_replies(redis: Redis, keys: Keys) -> None:
    calls = RedisCalls(redis, keys)
    await calls.command(lambda client: client.set("key", "value"))
    assert await calls.command(lambda client: client.get("key")) == b"value"
    replies = await calls.pipeline([("HSET", "hash", "f", 1), ("HGETALL", "hash")])
    assert replies == [1, {b"f": b"1"}]


async def test_an_error_of_a_pipeline_does_not_repeat_what_was_sent(
    redis: Redis, keys: Keys
) -> None:
    calls = RedisCalls(redis, keys)
    await calls.command(lambda client: client.set("key", "value"))
    with pytest.raises(ResponseError) as caught:
        await calls.pipeline([("SET", "other", "1"), ("HSET", "key", "field", "a prompt")])
    assert "WRONGTYPE" in str(caught.value) or "wrong kind" in str(caught.value)
    assert "prompt" not in str(caught.value)


async def test_a_node_that_does_not_hold_our_keys_names_the_one_that_does(keys: Keys) -> None:
    with pytest.raises(RedisConfigError, match=r"cluster.*10\.0\.0\.7:6380"):
        await ask_one_that_says("MOVED 11958 10.0.0.7:6380", keys)


@pytest.mark.parametrize("code", ["CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "READONLY", "LOADING"])
async def test_what_a_failover_says_is_known_to_pass(keys: Keys, code: str) -> None:
    with pytest.raises(RedisError) as caught:
        await ask_one_that_says(f"{code} for now", keys)
    assert is_passing(caught.value)


async def ask_one_that_says(error: str, keys: Keys) -> None:
    """A GET of a server that answers each command with this error."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            is_greeting = b"CLIENT" in data
            writer.write(b"+OK\r\n+OK\r\n" if is_greeting else f"-{error}\r\n".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        await RedisCalls(client, keys).command(lambda redis: redis.get("key"))
    finally:
        await client.aclose()
        server.close()


async def test_a_server_that_never_answers_is_given_up(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.redis_calls, "REPLY_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        client = connect(f"redis://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(RedisTimeoutError, match="no reply within"):
            await RedisCalls(client, keys).command(lambda redis: redis.get("key"))
        await client.aclose()


async def test_only_the_calls_that_failed_are_sent_again(redis: Redis, keys: Keys) -> None:
    calls = RedisCalls(redis, keys, Retrying())
    sent: list[list[str]] = []

    async def run_many(name: str, arguments: Sequence[Sequence[Any]]) -> list[Any]:
        sent.append([each[0] for each in arguments])
        first = len(sent) == 1
        answers = {"a": b"A", "b": OutOfMemoryError("OOM") if first else b"B"}
        return [answers.get(each[0], ResponseError("ERR")) for each in arguments]

    calls._scripts.run_many = run_many  # type: ignore[method-assign]
    replies = await calls.scripts("any", [("a",), ("b",), ("c",)])
    assert sent == [["a", "b", "c"], ["b"]]
    assert replies[:2] == [b"A", b"B"]
    assert isinstance(replies[2], ResponseError)


async def test_a_cancellation_is_never_lost(redis: Redis, keys: Keys) -> None:
    """redis-py with a socket_timeout loses some before Python 3.12; a process would not end."""
    calls = RedisCalls(redis, keys)

    async def work() -> None:
        while True:
            await calls.command(lambda client: client.get("key"))

    for _ in range(100):
        tasks = [asyncio.create_task(work()) for _ in range(3)]
        await asyncio.sleep(random.uniform(0, 0.003))
        for task in tasks:
            task.cancel()
        _, pending = await asyncio.wait(tasks, timeout=5)
        assert not pending
