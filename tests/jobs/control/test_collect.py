"""The life of a batch, from its order to its files."""

import json

import pytest

from jobs.control.collect import collect
from jobs.control.feed import feed
from jobs.queue import BatchState
from tests.jobs.endpoint import Endpoint, line, lines


async def test_a_batch_runs_to_its_files(endpoint: Endpoint) -> None:
    bad = line("bad", body={"temperature": 99})
    batch_id = await endpoint.order(await endpoint.upload(lines(5) + bad), metadata={"k": "v"})
    batch = await endpoint.finish(batch_id)
    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 6, "completed": 5, "failed": 1}
    stamps = (batch.in_progress_at, batch.finalizing_at, batch.completed_at)
    assert all(stamp is not None and stamp >= batch.created_at for stamp in stamps)
    assert batch.model == "demo"
    assert batch.metadata == {"k": "v"}
    assert batch.usage is not None
    assert batch.usage.model_dump() == {
        "input_tokens": 35,
        "input_tokens_details": {"cached_tokens": 10},
        "output_tokens": 15,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 50,
    }
    output = await endpoint.content(batch.output_file_id)
    assert [row["custom_id"] for row in output] == ["r0", "r1", "r2", "r3", "r4"]
    assert all(row["response"]["status_code"] == 200 and row["error"] is None for row in output)
    (error,) = await endpoint.content(batch.error_file_id)
    assert error["custom_id"] == "bad"
    assert error["response"]["body"]["error"]["code"] == "decimal_above_max_value"


async def test_files_of_results_are_files_like_others(endpoint: Endpoint) -> None:
    batch = await endpoint.finish(
        await endpoint.order(
            await endpoint.upload(lines(1)),
            output_expires_after={"anchor": "created_at", "seconds": 3600},
        )
    )
    about = (await endpoint.client.get(f"/v1/files/{batch.output_file_id}")).json()
    assert about["purpose"] == "batch_output"
    assert about["filename"] == f"{batch.id}_output.jsonl"
    assert about["expires_at"] == about["created_at"] + 3600
    listed = (await endpoint.client.get("/v1/files?purpose=batch_output")).json()
    assert [file["id"] for file in listed["data"]] == [batch.output_file_id]


async def test_no_file_is_created_empty(endpoint: Endpoint) -> None:
    bad = line("bad", body={"temperature": 99})
    batch = await endpoint.finish(await endpoint.order(await endpoint.upload(bad)))
    assert batch.status == "completed"
    assert batch.output_file_id is None
    assert batch.error_file_id is not None
    assert batch.errors is None
    good = await endpoint.finish(await endpoint.order(await endpoint.upload(lines(1))))
    assert good.error_file_id is None


async def test_the_queue_and_the_disk_forget_a_finished_batch(endpoint: Endpoint) -> None:
    batch = await endpoint.finish(await endpoint.order(await endpoint.upload(lines(2))))
    status = await endpoint.queue.status(batch.id)
    assert status is not None
    assert status.state is BatchState.COMPLETED
    assert not endpoint.control.workspace.batch_folder(batch.id).exists()
    assert await endpoint.control.batches.open_ids() == []


async def test_cancelled_lines_have_a_row_each_and_count_as_neither(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(8)))
    await feed(endpoint.control, batch_id)
    await endpoint.answer(await endpoint.take(max_jobs=3))
    running = await endpoint.take(max_jobs=1)
    reply = await endpoint.client.post(f"/v1/batches/{batch_id}/cancel")
    assert reply.json()["status"] == "cancelling"
    assert reply.json()["output_file_id"] is None
    await collect(endpoint.control, batch_id)
    assert (await endpoint.batch(batch_id)).status == "cancelling", "one request still runs"
    await endpoint.answer(running)
    await collect(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert batch.status == "cancelled"
    assert batch.request_counts.model_dump() == {"total": 8, "completed": 4, "failed": 0}
    assert batch.cancelling_at is not None
    assert batch.cancelled_at is not None
    output = await endpoint.content(batch.output_file_id)
    errors = await endpoint.content(batch.error_file_id)
    ids = [row["custom_id"] for row in [*output, *errors]]
    assert sorted(ids) == [f"r{n}" for n in range(8)]
    assert {row["error"]["code"] for row in errors} == {"batch_cancelled"}
    assert all(row["response"] is None for row in errors)


async def test_a_batch_cancelled_before_it_is_checked_has_all_its_lines(
    endpoint: Endpoint,
) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(3)))
    await endpoint.client.post(f"/v1/batches/{batch_id}/cancel")
    await endpoint.settle()
    batch = await endpoint.batch(batch_id)
    assert batch.status == "cancelled"
    assert batch.request_counts.model_dump() == {"total": 3, "completed": 0, "failed": 0}
    assert len(await endpoint.content(batch.error_file_id)) == 3


async def test_a_batch_cancelled_before_it_is_checked_may_have_a_bad_file(
    endpoint: Endpoint,
) -> None:
    batch_id = await endpoint.order(await endpoint.upload(b"nonsense\n"))
    await endpoint.client.post(f"/v1/batches/{batch_id}/cancel")
    await endpoint.settle()
    batch = await endpoint.batch(batch_id)
    assert batch.status == "cancelled"
    assert batch.error_file_id is None


async def test_what_is_not_done_in_time_is_expired(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(4)))
    await feed(endpoint.control, batch_id)
    await endpoint.answer(await endpoint.take(max_jobs=1))
    for key in (endpoint.keys.record(batch_id), endpoint.keys.batch(batch_id)):
        await endpoint.redis.hset(key, "expires_at", 1)
    await endpoint.settle()
    batch = await endpoint.batch(batch_id)
    assert batch.status == "expired"
    assert batch.expired_at is not None
    assert batch.request_counts.model_dump() == {"total": 4, "completed": 1, "failed": 0}
    errors = await endpoint.content(batch.error_file_id)
    assert {row["error"]["code"] for row in errors} == {"batch_expired"}
    assert len(errors) == 3


async def test_lines_that_never_reached_the_queue_get_their_rows(endpoint: Endpoint) -> None:
    """A control plane that was away while its batch was cancelled and swept by others."""
    batch_id = await endpoint.order(await endpoint.upload(lines(6)))
    await feed(endpoint.control, batch_id)
    await endpoint.client.post(f"/v1/batches/{batch_id}/cancel")
    await endpoint.redis.delete(endpoint.keys.stream(batch_id, "demo"))
    await endpoint.redis.hset(
        endpoint.keys.batch(batch_id), mapping={"state": "finalizing", "was": "cancelling"}
    )
    await collect(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert batch.status == "cancelled"
    assert [row["custom_id"] for row in await endpoint.content(batch.error_file_id)] == [
        f"r{n}" for n in range(6)
    ]


async def test_a_killed_finaliser_is_followed_by_another(endpoint: Endpoint) -> None:
    """Killed after the record's last move: what is left is cleared away by the next pass."""
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    await feed(endpoint.control, batch_id)
    await endpoint.answer(await endpoint.take())
    blob = (await endpoint.record(batch_id)).input_blob
    finish = endpoint.queue.finish

    async def die(batch_id: str) -> BatchState:
        raise OSError("killed")

    endpoint.queue.finish = die  # type: ignore[method-assign]
    with pytest.raises(OSError, match="killed"):
        await collect(endpoint.control, batch_id)
    endpoint.queue.finish = finish  # type: ignore[method-assign]
    before = await endpoint.batch(batch_id)
    assert before.status == "completed"
    await endpoint.settle()
    assert await endpoint.batch(batch_id) == before
    assert await endpoint.control.batches.open_ids() == []
    assert (await endpoint.record(batch_id)).input_blob is None
    assert blob is not None


async def test_two_finalisers_make_one_pair_of_files(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    await feed(endpoint.control, batch_id)
    await endpoint.answer(await endpoint.take())
    finish = endpoint.control.batches.finish

    async def finish_second(*arguments: object) -> object:
        """Another process makes the same move just before."""
        endpoint.control.batches.finish = finish  # type: ignore[method-assign]
        await collect(endpoint.control, batch_id)
        return await finish(*arguments)  # type: ignore[arg-type]

    endpoint.control.batches.finish = finish_second  # type: ignore[method-assign,assignment]
    await collect(endpoint.control, batch_id)
    batch = await endpoint.batch(batch_id)
    assert len(await endpoint.content(batch.output_file_id)) == 2
    listed = (await endpoint.client.get("/v1/files?purpose=batch_output")).json()
    assert len(listed["data"]) == 1
    held = await endpoint.control.files.held_blobs()
    assert {info.key for info in endpoint.control.blobs.walk()} == held


async def test_deleting_the_input_does_not_hurt_its_batch(endpoint: Endpoint) -> None:
    file_id = await endpoint.upload(lines(2))
    batch_id = await endpoint.order(file_id)
    assert (await endpoint.client.delete(f"/v1/files/{file_id}")).status_code == 200
    assert await endpoint.control.files.garbage() == []
    batch = await endpoint.finish(batch_id)
    assert batch.status == "completed"
    assert batch.input_file_id == file_id
    assert len(await endpoint.control.files.garbage()) == 1


async def test_output_lines_have_the_four_keys(endpoint: Endpoint) -> None:
    batch = await endpoint.finish(await endpoint.order(await endpoint.upload(lines(2))))
    reply = await endpoint.client.get(f"/v1/files/{batch.output_file_id}/content")
    assert reply.content.endswith(b"}\n")
    rows = [json.loads(each) for each in reply.content.splitlines()]
    assert all(list(row) == ["id", "custom_id", "response", "error"] for row in rows)
    assert len({row["id"] for row in rows}) == 2
