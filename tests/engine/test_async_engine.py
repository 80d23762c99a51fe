import asyncio
from collections.abc import AsyncIterator

import pytest

from engine.async_engine import AsyncEngine
from engine.errors import EngineClosedError, EngineError, RequestError
from engine.request import FinishReason
from tests.fakes import FakeEngine, expected_tokens, make_request


@pytest.fixture
async def fake() -> FakeEngine:
    return FakeEngine(num_blocks=200, max_model_len=400)


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[AsyncEngine]:
    engine = AsyncEngine(fake.core)
    engine.start()
    yield engine
    await engine.close()


async def test_many_callers_get_their_own_answers(engine: AsyncEngine) -> None:
    requests = [make_request(str(i), [i, i + 1, i + 2]) for i in range(30)]
    finished = await asyncio.gather(*(engine.run(request) for request in requests))
    assert finished == requests
    for index, request in enumerate(finished):
        assert request.output_token_ids == expected_tokens([index, index + 1, index + 2], 8)
    assert engine.is_idle
    assert engine.progress_counter > 0


async def test_a_bad_request_fails_its_own_caller_only(engine: AsyncEngine) -> None:
    good = asyncio.create_task(engine.run(make_request("good", [1, 2])))
    with pytest.raises(RequestError, match="prompt is empty"):
        await engine.run(make_request("bad", []))
    assert (await good).finish_reason is FinishReason.LENGTH


async def test_cancelling_the_caller_aborts_the_request(
    engine: AsyncEngine, fake: FakeEngine
) -> None:
    fake.executor.step_s = 0.005
    request = make_request("long", [1, 2], max_tokens=398)
    task = asyncio.create_task(engine.run(request))
    while not fake.scheduler.num_running:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await engine.run(make_request("next", [1]))
    assert request.finish_reason is FinishReason.ABORT
    assert fake.pool.num_free == 200


async def test_abort_returns_the_request_with_what_it_has(
    engine: AsyncEngine, fake: FakeEngine
) -> None:
    fake.executor.step_s = 0.005
    request = make_request("long", [1, 2], max_tokens=398)
    task = asyncio.create_task(engine.run(request))
    while not request.output_token_ids:
        await asyncio.sleep(0)
    engine.abort("long")
    assert (await task).finish_reason is FinishReason.ABORT
    assert request.output_token_ids


async def test_close_fails_what_is_left(fake: FakeEngine) -> None:
    engine = AsyncEngine(fake.core)
    engine.start()
    task = asyncio.create_task(engine.run(make_request("long", [1, 2], max_tokens=398)))
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(EngineClosedError):
        await task
    with pytest.raises(EngineClosedError):
        await engine.run(make_request("late", [1]))
    assert fake.executor.is_shut_down


async def test_a_dead_engine_says_so_to_everybody(fake: FakeEngine) -> None:
    engine = AsyncEngine(fake.core)

    def explode():
        raise MemoryError("out of everything")

    fake.scheduler.schedule = explode
    engine.start()
    with pytest.raises(EngineError, match="out of everything"):
        await engine.run(make_request("a", [1]))
    assert isinstance(engine.failure, MemoryError)
    with pytest.raises(EngineError, match="has died"):
        await engine.run(make_request("b", [1]))
    await engine.close()


async def test_who_watches_hears_of_each_step_but_the_last(engine: AsyncEngine) -> None:
    heard: list[list[int]] = []
    request = await engine.run(
        make_request("watched", [1, 2, 3], max_tokens=6), lambda tokens, rows: heard.append(tokens)
    )
    assert [token for tokens in heard for token in tokens] == request.output_token_ids[:5]
    assert len(heard) == 5
    await engine.run(make_request("not watched", [1, 2, 3], max_tokens=6))
    assert len(heard) == 5
    assert engine._watches == {}


async def test_a_watched_request_that_is_aborted_is_forgotten(
    engine: AsyncEngine, fake: FakeEngine
) -> None:
    fake.executor.step_s = 0.005
    heard: list[list[int]] = []
    running = asyncio.create_task(
        engine.run(
            make_request("watched", [1, 2, 3], max_tokens=390),
            lambda tokens, rows: heard.append(tokens),
        )
    )
    async with asyncio.timeout(20):
        while not heard:
            await asyncio.sleep(0)
    engine.abort("watched")
    assert (await running).finish_reason is FinishReason.ABORT
    assert engine._watches == {}


async def test_tokens_of_an_earlier_worker_are_heard_of_too(engine: AsyncEngine) -> None:
    prompt, heard = [5, 6, 7], list[int]()
    request = make_request("resumed", prompt, max_tokens=6)
    request.output_token_ids = expected_tokens(prompt, 3)
    await engine.run(request, lambda tokens, rows: heard.extend(tokens))
    assert heard == expected_tokens(prompt, 5)
