import json
from pathlib import Path

import pytest

from jobs.control.context import ControlSettings
from jobs.control.feed import feed
from jobs.control.workspace import Workspace
from jobs.queue import BatchState
from jobs.queue_settings import QueueSettings
from tests.jobs.conftest import fake_client
from tests.jobs.endpoint import Endpoint, line, lines, make_endpoint


async def test_a_good_file_is_in_progress_and_in_the_queue(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(3)))
    assert endpoint.kicked == [batch_id]
    before = await endpoint.batch(batch_id)
    assert (before.status, before.request_counts.total) == ("validating", 0)
    await feed(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert batch.status == "in_progress"
    assert batch.request_counts.total == 3
    assert batch.in_progress_at is not None
    status = await endpoint.queue.status(batch_id)
    assert status is not None
    assert (status.total, status.sink, status.tenant) == (3, "endpoint://", "default")
    assert batch.expires_at is not None
    assert status.expires_at_ms == batch.expires_at * 1000
    assert batch.expires_at == batch.created_at + 86_400


async def test_a_bad_file_fails_and_nothing_of_it_runs(endpoint: Endpoint) -> None:
    data = line("a") + b"\nnonsense\n" + line("a")
    batch_id = await endpoint.order(await endpoint.upload(data))
    await feed(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert batch.status == "failed"
    assert batch.failed_at is not None
    assert batch.request_counts.total == 0
    assert batch.errors is not None
    assert [(error.line, error.code) for error in batch.errors.data] == [
        (2, "invalid_json_line"),
        (3, "duplicate_custom_id"),
    ]
    assert await endpoint.queue.status(batch_id) is None
    await endpoint.settle()
    assert await endpoint.control.batches.open_ids() == []


@pytest.mark.parametrize("purpose", ["fine-tune", "batch"])
async def test_a_file_that_cannot_be_used(endpoint: Endpoint, purpose: str) -> None:
    file_id = await endpoint.upload(lines(1), purpose=purpose)
    if purpose == "batch":
        await endpoint.client.delete(f"/v1/files/{file_id}")
    batch_id = await endpoint.order(file_id)
    await feed(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert batch.errors is not None
    (error,) = batch.errors.data
    assert (batch.status, error.code, error.param, error.line) == (
        "failed",
        "invalid_request",
        "file_id",
        None,
    )
    assert file_id in error.message


@pytest.mark.parametrize("data", [b"\x1f\x8b" + b"\0" * 50, b"PAR1xxxx"])
async def test_bytes_that_are_no_text(endpoint: Endpoint, data: bytes) -> None:
    batch_id = await endpoint.order(await endpoint.upload(data))
    await feed(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert batch.errors is not None
    (error,) = batch.errors.data
    assert (error.code, error.line) == ("invalid_json_line", 1)
    assert "/" not in error.message, "no path of the server is told"


async def test_an_unknown_model_where_some_are_known(endpoint: Endpoint) -> None:
    await endpoint.serve("served")
    batch_id = await endpoint.order(await endpoint.upload(lines(1)))
    await feed(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert batch.errors is not None
    assert batch.errors.data[0].code == "model_not_found"


async def test_a_model_that_will_be_served(tmp_path: Path) -> None:
    client = fake_client()
    endpoint = make_endpoint(
        client, tmp_path, control_settings=ControlSettings(served_models=("demo",))
    )
    await endpoint.serve("other")
    batch_id = await endpoint.order(await endpoint.upload(lines(1)))
    await feed(endpoint.control, batch_id)
    assert (await endpoint.batch(batch_id)).status == "in_progress"
    await endpoint.client.aclose()
    await client.aclose()


async def test_unknown_parameters_may_be_left_out(tmp_path: Path) -> None:
    client = fake_client()
    endpoint = make_endpoint(
        client, tmp_path, control_settings=ControlSettings(ignores_unknown=True)
    )
    await endpoint.serve("demo")
    one = line("a").replace(b'"messages"', b'"zzz": 1, "messages"')
    await feed(endpoint.control, await endpoint.order(await endpoint.upload(one)))
    (lease,) = await endpoint.take()
    assert set(json.loads(lease.body)) == set(json.loads(line("a"))["body"])
    await endpoint.client.aclose()
    await client.aclose()


async def test_a_feed_may_be_repeated(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(5)))
    await feed(endpoint.control, batch_id)
    await feed(endpoint.control, batch_id)
    assert len(await endpoint.take()) == 5


async def test_a_killed_feed_goes_on_where_it_stopped(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(250)))
    enqueue = endpoint.queue.enqueue
    num_chunks = 0

    async def die_at_the_second(*arguments: object, **more: object) -> object:
        nonlocal num_chunks
        num_chunks += bool(arguments[2])  # not the calls that only say that the feed is there
        if arguments[2] and num_chunks == 2:
            raise OSError("killed")
        return await enqueue(*arguments, **more)  # type: ignore[arg-type]

    endpoint.queue.enqueue = die_at_the_second  # type: ignore[method-assign,assignment]
    with pytest.raises(OSError, match="killed"):
        await feed(endpoint.control, batch_id)
    status = await endpoint.queue.status(batch_id)
    assert status is not None
    assert 0 < status.num_enqueued < 250
    batch = await endpoint.finish(batch_id)
    assert batch.request_counts.completed == 250
    output = await endpoint.content(batch.output_file_id)
    assert [row["custom_id"] for row in output] == [f"r{n}" for n in range(250)]


async def test_a_batch_that_the_queue_forgot_is_fed_again(endpoint: Endpoint) -> None:
    from jobs.control.collect import collect

    batch_id = await endpoint.order(await endpoint.upload(lines(4)))
    await feed(endpoint.control, batch_id)
    await endpoint.answer(await endpoint.take(max_jobs=2))
    await collect(endpoint.control, batch_id)
    await endpoint.queue.delete_batch(batch_id)
    await feed(endpoint.control, batch_id)
    leases = await endpoint.take()
    assert len(leases) == 2, "what the files hold is not run again"
    await endpoint.answer(leases)
    await collect(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert batch.request_counts.completed == 4
    assert len(await endpoint.content(batch.output_file_id)) == 4


async def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    import asyncio

    client = fake_client()
    settings = QueueSettings(max_depth=150, reap_every_ms=1)
    endpoint = make_endpoint(client, tmp_path, queue_settings=settings)
    batch_id = await endpoint.order(await endpoint.upload(lines(300)))
    feeding = asyncio.create_task(feed(endpoint.control, batch_id))
    while (await endpoint.batch(batch_id)).status != "in_progress":
        await asyncio.sleep(0.01)
    num_answered = 0
    while not feeding.done() or num_answered < 300:
        leases = await endpoint.take(max_jobs=40)
        assert len(leases) <= 150
        await endpoint.answer(leases)
        num_answered += len(leases)
        await asyncio.sleep(0.005)
    await feeding
    assert (await endpoint.finish(batch_id)).request_counts.completed == 300
    await endpoint.client.aclose()
    await client.aclose()


async def test_a_batch_belongs_to_the_data_folder_that_it_began_in(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(1)))
    other = Workspace(tmp_path / "other")
    await endpoint.control.batches.claim(batch_id, other.store_id)
    await feed(endpoint.control, batch_id)
    assert (await endpoint.record(batch_id)).status is BatchState.VALIDATING
