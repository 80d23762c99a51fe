"""Waiting clients and a worker, with everything but a model and HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from engine.step import StepPlan, StepResult
from jobs.keys import Keys
from jobs.online.calls import OnlineCalls, OnlineSettings
from jobs.online.jobs import NewRequest, OnlineJobs
from jobs.online.listener import TokenListener
from jobs.online.messages import Accepted, Step
from jobs.online.sent import FinalChoice, SentAnswer
from schemas.result import ResultRow
from tests.worker.doubles import ScriptedExecutor, fake_machine
from tests.worker.site import Site, chat


class SayingExecutor(ScriptedExecutor):
    """Says a text of at most 26 bytes, then end of text; a step takes a while."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.data = text.encode() + b"\0" * 26

    def submit(self, plan: StepPlan) -> StepResult:
        time.sleep(0.02)
        result = super().submit(plan)
        said = {
            request_id: [self.data[token - ord("a")] for token in tokens]
            for request_id, tokens in result.token_ids.items()
        }
        return StepResult(plan.step_id, said)


@pytest.fixture
async def calls(site: Site, redis: Redis) -> AsyncIterator[OnlineCalls]:
    keys = Keys("test")
    listener = TokenListener(redis, keys)
    listening = asyncio.create_task(listener.run())
    jobs = OnlineJobs(redis, keys, site.connection.settings)
    yield OnlineCalls(jobs, listener, keys, OnlineSettings(look_every_s=0.5))
    listening.cancel()
    await asyncio.wait([listening])


def request(url: str = "/v1/chat/completions", **body: Any) -> NewRequest:
    return NewRequest(
        request_id="req_1",
        model="m",
        url=url,
        cost_tokens=10,
        body=json.dumps(body).encode(),
        ttl_ms=60_000,
    )


async def ask(calls: OnlineCalls, new: NewRequest) -> list[Any]:
    async with calls.open("acme", new) as call:
        assert hasattr(call, "events")
        return [event async for event in call.events() if event is not None]


def texts(events: list[Any]) -> dict[int, list[str]]:
    shown: dict[int, list[str]] = {}
    for event in events:
        for piece in event.pieces if isinstance(event, Step) else ():
            shown.setdefault(piece.index, []).append(piece.content)
    return shown


async def test_a_stream_is_accepted_then_shown_step_by_step_then_recorded(
    site: Site, calls: OnlineCalls
) -> None:
    async with site.worker(fake_machine(SayingExecutor("a€ 😀, ok"))):
        events = await ask(calls, request(**chat(stream=True, n=2)))
    head, *steps, row = events
    assert isinstance(head, Accepted)
    assert head.model == "m"
    assert [step.number for step in steps] == list(range(len(steps)))
    assert isinstance(row, ResultRow)
    answer = json.loads(row.response_json or "")
    assert (answer["id"], answer["created"]) == (head.id, head.created)
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["a€ 😀, ok"] * 2
    assert texts(events) == {0: ["a", "€", " ", "😀", ",", " ", "o", "k"]} | {
        1: ["a", "€", " ", "😀", ",", " ", "o", "k"]
    }


async def test_a_request_without_stream_is_told_of_its_start_and_end_only(
    site: Site, calls: OnlineCalls
) -> None:
    async with site.worker(fake_machine(SayingExecutor("abc"))):
        events = await ask(calls, request(**chat()))
    assert [type(event) for event in events] == [Accepted, ResultRow]


async def test_what_only_the_worker_can_refuse_is_refused_without_a_start(
    site: Site, calls: OnlineCalls
) -> None:
    async with site.worker(fake_machine()):
        (row,) = await ask(calls, request(**chat("x" * 500, stream=True)))
    assert row.status_code == 400
    assert row.error_code == "context_length_exceeded"


async def test_text_completions_are_shown_by_prompt_and_choice(
    site: Site, calls: OnlineCalls
) -> None:
    body = {"model": "m", "prompt": ["x", "y"], "n": 2, "echo": True, "stream": True}
    async with site.worker(fake_machine(SayingExecutor("abc"))):
        events = await ask(calls, request("/v1/completions", **body))
    shown = {index: "".join(parts) for index, parts in texts(events).items()}
    assert shown == {0: "xabc", 1: "xabc", 2: "yabc", 3: "yabc"}


class SlowExecutor(ScriptedExecutor):
    """Takes a few milliseconds a step, so that an answer of 3,900 tokens cannot end by itself."""

    def submit(self, plan: StepPlan) -> StepResult:
        time.sleep(0.005)
        return super().submit(plan)


async def test_hanging_up_ends_what_runs(site: Site, calls: OnlineCalls) -> None:
    executor = SlowExecutor()
    async with site.worker(fake_machine(executor, max_model_len=4000, num_blocks=4000)) as worker:
        new = request(**chat(stream=True, max_tokens=3900))
        async with calls.open("acme", new) as call:
            async for event in call.events():  # type: ignore[union-attr]
                if isinstance(event, Step):
                    break
        async with asyncio.timeout(10):
            while worker.metric("jobs_in_flight"):
                await asyncio.sleep(0.02)
        assert worker.metric("jobs_finished_total", outcome="cancelled") == 1
        assert len(executor.num_rows) < 3900
    assert await calls.jobs.num_waiting("acme") == 0


class DyingExecutor(SayingExecutor):
    """Hangs after four steps, as a device may."""

    def submit(self, plan: StepPlan) -> StepResult:
        if len(self.num_rows) == 4:
            self.gate.clear()
        return super().submit(plan)


async def test_a_stream_goes_on_with_another_worker(site: Site, calls: OnlineCalls) -> None:
    """What the client has is not sent again."""
    text, shown = "abc déf ghi jkl", ""
    sent, dying = SentAnswer(), DyingExecutor("abc déf ghi jkl")
    attempts: set[int] = set()
    async with (
        site.worker(fake_machine(dying), drain_s=0.1),
        calls.open("acme", request(**chat(stream=True))) as call,
    ):
        events = call.events()  # type: ignore[union-attr]
        async for event in events:
            if isinstance(event, Step):
                shown += "".join(piece.content for piece in sent.follow(event))
            if len(shown) == 3:
                break
        async with site.worker(fake_machine(SayingExecutor(text))):
            async for event in events:
                assert text.startswith(shown)
                if isinstance(event, Step):
                    attempts.add(event.attempt)
                    shown += "".join(piece.content for piece in sent.follow(event))
                elif isinstance(event, ResultRow):
                    rest = sent.rest(0, FinalChoice(content=event.content or ""))
                    assert rest is not None
                    shown += rest.content
            dying.gate.set()
    assert shown == text
    assert 2 in attempts


async def test_waiting_clients_are_served_beyond_a_full_window(
    site: Site, calls: OnlineCalls
) -> None:
    executor = ScriptedExecutor()
    await site.submit(*(chat(f"text {number}", max_tokens=200) for number in range(40)))
    machine = fake_machine(executor, max_num_seqs=4, num_blocks=2000)
    async with site.worker(machine) as worker:
        async with asyncio.timeout(20):
            while worker.metric("jobs_in_flight") < 8:
                await asyncio.sleep(0.01)
        events = await asyncio.wait_for(ask(calls, request(**chat(max_tokens=1))), 30)
        assert isinstance(events[-1], ResultRow)
        assert (await site.status()).num_ok < 40
        await site.finished()


async def test_jobs_of_batches_publish_nothing(site: Site, redis: Redis) -> None:
    async with redis.pubsub() as listener:
        await listener.psubscribe(f"{Keys('test').prefix.replace('{q}', '?q?')}t:*")
        await listener.get_message(timeout=1)
        await site.submit(chat(max_tokens=5))
        async with site.worker(fake_machine()):
            await site.finished()
        assert await listener.get_message(timeout=0.2) is None
