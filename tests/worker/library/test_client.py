"""Clients of a queue with a worker on it: the asyncio client on the fake server and a real one, the
other client, which is a shell around it, on the real one."""

import asyncio
import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from redis.asyncio import Redis

from engine.async_engine import AsyncEngine
from jobs.embedded_server import EmbeddedServer
from jobs.queue import BatchState
from jobs.redis_queue import RedisQueue
from jobs.registry import Registry, WorkerInfo
from tests.worker.doubles import fake_machine
from tests.worker.site import Site
from tests.worker.test_run import CountingExecutor
from worker.connection import Connection
from worker.library import queue_rows
from worker.library.async_client import AsyncClient
from worker.library.client import Client
from worker.library.errors import HeadraceError

URL = "redis://localhost"
TABLE = pa.table({"name": ["a", "b", "c"], "text": ["one", "two", None]})


async def know_model(site: Site, *names: str) -> None:
    info = WorkerInfo(consumer="somebody", models=names, max_model_len=256)
    await Registry(site.connection.redis, site.connection.keys).register(info)


async def until_idle(engine: AsyncEngine) -> None:
    async with asyncio.timeout(10):
        while not engine.is_idle or engine.stats().kv_cache_usage or engine.stats().num_running:
            await asyncio.sleep(0.01)


async def test_requests_come_back_in_their_order(at_site: Site) -> None:
    async with AsyncClient(URL) as client, at_site.worker(fake_machine()):
        requests = [*(f"request {number}" for number in range(50)), 5, {"messages": []}]
        answers = await client.run(requests, model="m", max_tokens=2)
    assert answers["content"].to_pylist() == ["ab"] * 50 + [None] * 2
    assert answers["status_code"].to_pylist() == [200] * 50 + [400] * 2
    assert answers["custom_id"].to_pylist()[:50] == [str(number) for number in range(50)]


@pytest.mark.parametrize("kind", [pa.Table, pd.DataFrame, pl.DataFrame])
async def test_tables_of_all_kinds(at_site: Site, kind: Any) -> None:
    data = TABLE if kind is pa.Table else kind(TABLE.to_pydict())
    async with AsyncClient(URL) as client, at_site.worker(fake_machine()):
        answers = await client.run(data, model="m", prompt_column="text", max_tokens=2)
    assert answers.select(["name", "content", "error_code"]).to_pydict() == {
        "name": ["a", "b", "c"],
        "content": ["ab", "ab", None],
        "error_code": [None, None, "invalid_prompt"],
    }


async def test_answers_come_while_others_wait(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        results = await client.stream(["x", 5], model="m", max_tokens=1)
        first = await anext(results)
        assert first["idx"].to_pylist() == [1]
        async with at_site.worker(fake_machine()):
            assert [batch["idx"].to_pylist() async for batch in results] == [[0]]
        status = await at_site.status(results.batch_id or "")
    assert (status.state, status.num_outbox) == (BatchState.COMPLETED, 0)


@pytest.mark.parametrize("way", ["close", "cancelled", "drop"])
async def test_who_leaves_early_cancels_the_batch(at_site: Site, way: str) -> None:
    machine = fake_machine(executor := CountingExecutor())
    async with AsyncClient(URL) as client, at_site.worker(machine):
        before = asyncio.all_tasks()
        requests = [f"request {number}" for number in range(400)]
        results = await client.stream(requests, model="m", max_tokens=100)
        batch_id = results.batch_id or ""
        await anext(results)
        if way == "close":
            await results.close()
            assert [batch async for batch in results] == []
        elif way == "cancelled":
            reading = asyncio.create_task(results.table())
            await asyncio.sleep(0.05)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        else:
            del results
            gc.collect()
        async with asyncio.timeout(10):
            while (status := await at_site.queue.status(batch_id)) is not None:
                if status.state is BatchState.CANCELLED:
                    break
                await asyncio.sleep(0.02)
        await until_idle(machine.engine)
        assert len(executor.seen) < 400
        async with asyncio.timeout(10):
            while {task for task in asyncio.all_tasks() if "QueueRows" in repr(task)} - before:
                await asyncio.sleep(0.02)
        again = await client.run(["still there"], model="m", max_tokens=1)
        assert again["content"].to_pylist() == ["a"]


async def test_a_batch_without_workers_ends_with_its_reader(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        results = await client.stream(["x", 5], model="m")
        await anext(results)
        await results.close()
        status = await at_site.status(results.batch_id or "")
    assert (status.state, status.num_cancelled, status.num_outbox) == (BatchState.CANCELLED, 1, 0)


async def test_a_batch_that_workers_hold_on_to_is_forgotten(
    at_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_rows, "_FAREWELL_S", 0.2)
    async with AsyncClient(URL) as client:
        results = await client.stream(["x", 5], model="m")
        await anext(results)
        leases = await at_site.queue.take(
            "me", ["m"], max_jobs=9, max_cost_tokens=9999, num_in_flight=0
        )
        assert len(leases) == 1
        await results.close()
    assert await at_site.queue.status(results.batch_id or "") is None


async def test_a_client_that_is_closed_closes_its_streams(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        results = await client.stream(["x", 5], model="m")
        await anext(results)
    status = await at_site.status(results.batch_id or "")
    assert status.state is BatchState.CANCELLED
    assert [batch async for batch in results] == []


async def test_a_batch_is_submitted_watched_and_fetched(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        batch = await client.submit(TABLE, model="m", prompt_column="text", tenant="acme")
        status = await batch.status()
        assert (status.total, status.tenant, status.num_finished) == (3, "acme", 1)
        async with at_site.worker(fake_machine()):
            await at_site.finished(batch.id)
        async with await batch.stream() as results:
            assert (await results.table())["name"].to_pylist() == ["a", "b", "c"]
        again = await client.batch(batch.id)
        assert (await again.status()).state is BatchState.COMPLETED
        async with await again.stream() as results:
            assert (await results.table()).num_rows == 0, "each row is delivered once"


async def test_a_submission_that_is_given_up_leaves_no_batch(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        await client.submit(["x"], model="m")
        client._connection = with_full_queue(await client._connected())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.submit(["y", "z"], model="m"), 0.3)
        waiting = [each for each in await at_site.queue.list_batches() if not each.state.is_final]
    assert [each.total for each in waiting] == [1], "only the one that was submitted whole"


async def test_a_submission_that_somebody_removed_is_one_clear_error(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        await client.submit(["x"], model="m")
        client._connection = with_full_queue(await client._connected())
        submitting = asyncio.create_task(client.submit(["y", "z"], model="m"))
        async with asyncio.timeout(10):
            while len(batches := await at_site.queue.list_batches()) < 2:
                await asyncio.sleep(0.01)
        (unfinished,) = [each.batch_id for each in batches if each.total is None]
        await at_site.queue.delete_batch(unfinished)
        with pytest.raises(HeadraceError, match=f"{unfinished} was gone before all its rows"):
            await asyncio.wait_for(submitting, 20)


def with_full_queue(connection: Connection) -> Connection:
    settings = replace(connection.settings, max_depth=1)
    queue = RedisQueue(connection.redis, connection.keys, settings, retrying=connection.retrying)
    return replace(connection, settings=settings, queue=queue)


async def test_a_batch_of_somebody_else_is_fetched_by_its_id(at_site: Site) -> None:
    await at_site.submit(*[{"model": "m", "messages": []}] * 3, batch_id="theirs", sink="redis")
    async with AsyncClient(URL) as client, at_site.worker(fake_machine()):
        for _ in range(2):  # rows that stay in Redis may be read again
            async with await (await client.batch("theirs")).stream() as results:
                assert (await results.table())["custom_id"].to_pylist() == [
                    "job-0",
                    "job-1",
                    "job-2",
                ]


async def test_a_reader_that_leaves_a_submitted_batch_leaves_it_alone(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        batch = await client.submit(["x", 5], model="m")
        async with await batch.stream() as results:
            await anext(results)
        assert (await batch.status()).state is BatchState.IN_PROGRESS
        assert await batch.cancel() is BatchState.CANCELLING
        async with await batch.stream() as results:
            rows = (await results.table()).to_pylist()
        assert rows[0]["error_code"] == "batch_cancelled"
        assert rows[1]["status_code"] == 400, "what it got last comes again, lest it be lost"


async def test_the_only_known_model_is_the_default(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        with pytest.raises(HeadraceError, match="which model"):
            await client.run(TABLE, prompt_column="text")
        await know_model(at_site, "m")
        async with at_site.worker(fake_machine()):
            answers = await client.run(TABLE, prompt_column="text", max_tokens=1)
            assert answers["model"].to_pylist()[:2] == ["m", "m"]
        refused = await client.run(["x"], model="other")
        assert refused["status_code"].to_pylist() == [404]


async def test_rows_survive_a_server_that_forgets_everything(
    at_site: Site, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = fake_machine()
    async with AsyncClient(URL) as client, at_site.worker(machine):
        requests = [f"request {number}" for number in range(200)]
        results = await client.stream(requests, model="m", max_tokens=20)
        rows = [await anext(results)]
        await redis.flushall()
        rows += [batch async for batch in results]
    indexes = [idx for batch in rows for idx in batch["idx"].to_pylist()]
    assert sorted(indexes) == list(range(200))
    assert {text for batch in rows for text in batch["content"].to_pylist()} == {
        "abcdefghijklmnopqrst"
    }


async def test_what_the_queue_is_told_about_a_batch(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        twins = ["same"] * 5
        batch = await client.submit(
            twins, model="m", max_tokens=2, temperature=0, dedupe=True,
            priority="high", expires_in=60.0,
        )  # fmt: skip
        assert (await batch.status()).expires_at_ms is not None
        machine = fake_machine(executor := CountingExecutor())
        async with at_site.worker(machine), await batch.stream() as results:
            answers = await results.table()
    assert answers["deduped_from"].null_count == 1
    assert len(executor.seen) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"priority": "urgent"}, "priority='urgent'"),
        ({"expires_in": 0}, "expires_in=0.0: it must be at least"),
        ({"tenants": "x"}, "did you mean tenant"),
        ({"tenant": "not a name!"}, "tenant"),
    ],
)
async def test_what_is_wrong_with_a_call_is_one_clear_error(
    at_site: Site, settings: dict[str, Any], message: str
) -> None:
    async with AsyncClient(URL) as client:
        with pytest.raises(HeadraceError, match=message):
            await client.run(["x"], model="m", **settings)


async def test_an_unknown_batch_is_one_clear_error(at_site: Site) -> None:
    async with AsyncClient(URL) as client:
        batch = await client.batch("batch_nowhere")
        for call in (batch.status, batch.cancel, batch.stream):
            with pytest.raises(HeadraceError, match="there is no batch batch_nowhere"):
                await call()


async def test_rows_that_go_to_files_are_not_fetched(at_site: Site) -> None:
    await at_site.submit({"model": "m"}, batch_id="filed", sink="/data/out")
    async with AsyncClient(URL) as client:
        with pytest.raises(HeadraceError, match="/data/out"):
            await (await client.batch("filed")).stream()


def test_a_server_must_be_named_and_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_REDIS", raising=False)
    with pytest.raises(HeadraceError, match="HEADRACE_REDIS"):
        Client()
    with pytest.raises(HeadraceError, match="cannot reach Redis at localhost:1"):
        Client("redis://localhost:1")
    monkeypatch.setenv("HEADRACE_REDIS", "redis://localhost:1")
    with pytest.raises(HeadraceError, match="cannot reach Redis at localhost:1"):
        Client()
    with pytest.raises(HeadraceError, match="not a url"):
        Client("not a url")


@pytest.mark.redis
@pytest.mark.parametrize("redis", ["real"], indirect=True)
async def test_the_client_without_a_loop(
    site: Site, server: EmbeddedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def script() -> None:
        with Client(server.url, namespace="test") as client:
            answers = client.run(TABLE, model="m", prompt_column="text", max_tokens=2)
            assert answers["content"].to_pylist() == ["ab", "ab", None]
            batch = client.submit(["x"], model="m", max_tokens=1)
            assert client.batch(batch.id).status().total == 1
            with batch.stream(progress=True) as results:
                assert results.table()["content"].to_pylist() == ["a"]
            assert batch.status().state is BatchState.COMPLETED
            many = [f"request {number}" for number in range(400)]
            for part in client.stream(many, model="m", max_tokens=100):
                assert part.num_rows
                break
            refused = client.submit(["x"], model="nobody")
            assert refused.cancel() is BatchState.FINALIZING, "it has its only row already"
            with pytest.raises(HeadraceError, match="there is no batch x"):
                client.batch("x").status()
        with pytest.raises(HeadraceError, match="closed"):
            client.run(["x"])

    machine = fake_machine(executor := CountingExecutor())
    async with site.worker(machine):
        await asyncio.to_thread(script)
        await until_idle(machine.engine)
    assert len(executor.seen) < 400
    assert "running" in capsys.readouterr().err


@pytest.mark.redis
@pytest.mark.parametrize("redis", ["real"], indirect=True)
async def test_a_batch_can_be_asked_though_nobody_holds_the_client_any_more(
    site: Site, server: EmbeddedServer
) -> None:
    def script() -> None:
        batch = Client(server.url, namespace="test").submit(["x"], model="m", max_tokens=1)
        gc.collect()
        assert batch.stream().table()["content"].to_pylist() == ["a"]
        answers = Client(server.url, namespace="test").stream(["y"], model="m", max_tokens=1)
        assert answers.table().num_rows == 1

    async with site.worker(fake_machine()):
        await asyncio.to_thread(script)
