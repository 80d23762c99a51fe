import pytest
from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.queue import BatchState
from jobs.records.batches import BatchRecords, Creation, Ending, Idempotency, NewRecord
from jobs.records.files import FileRecords, NewFile
from jobs.records.page import PageRequest
from schemas.batch_object import (
    BatchErrors,
    BatchUsage,
    InputTokensDetails,
    LineError,
    OutputTokensDetails,
    RequestCounts,
)

S = BatchState


def new(batch_id: str, *, tenant: str = "a", **more: object) -> NewRecord:
    fields = {
        "endpoint": "/v1/chat/completions",
        "input_file_id": "f1",
        "completion_window": "24h",
        "window_s": 86_400,
    }
    return NewRecord(batch_id=batch_id, tenant=tenant, **(fields | more))  # type: ignore[arg-type]


def file(name: str, *, tenant: str = "a") -> NewFile:
    return NewFile(
        file_id=name, tenant=tenant, blob=f"blob-{name}", num_bytes=1, filename="x", purpose="batch"
    )


def ending(status: BatchState, **files: NewFile) -> Ending:
    return Ending(
        status=status,
        counts=RequestCounts(total=3, completed=2, failed=1),
        usage=BatchUsage(
            input_tokens=1,
            input_tokens_details=InputTokensDetails(cached_tokens=0),
            output_tokens=2,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
            total_tokens=3,
        ),
        lifetime_s=60,
        **files,
    )


@pytest.fixture
def batches(redis: Redis, keys: Keys) -> BatchRecords:
    return BatchRecords(redis, keys)


@pytest.fixture
def files(redis: Redis, keys: Keys) -> FileRecords:
    return FileRecords(redis, keys)


async def test_a_new_batch_has_every_key(batches: BatchRecords) -> None:
    metadata = {"k": "wert ü"}
    assert await batches.create(new("b1", metadata=metadata)) == (Creation.NEW, "b1")
    record = await batches.get("b1", "a")
    assert record is not None
    batch = record.batch
    assert batch.status == "validating"
    assert batch.metadata == metadata
    assert batch.expires_at == batch.created_at + 86_400
    assert batch.request_counts.model_dump() == {"total": 0, "completed": 0, "failed": 0}
    assert (batch.errors, batch.model, batch.usage, batch.output_file_id) == (None,) * 4
    assert await batches.open_ids() == ["b1"]


async def test_a_tenant_sees_its_own_batches_only(batches: BatchRecords) -> None:
    await batches.create(new("b1"))
    assert await batches.get("b1", "b") is None
    page = await batches.page("b", PageRequest(limit=10))
    assert page is not None
    assert page.items == []
    assert await batches.page("b", PageRequest(limit=10, after="b1")) is None


async def test_the_input_is_held_until_the_batch_is_closed(
    batches: BatchRecords, files: FileRecords
) -> None:
    await files.create(file("f1"))
    await batches.create(new("b1"))
    record = await batches.get("b1")
    assert record is not None
    assert (record.input_blob, record.input_purpose) == ("blob-f1", "batch")
    await files.delete("f1", "a")
    assert await files.garbage() == []
    await batches.close("b1")
    await batches.close("b1")
    assert await files.garbage() == ["blob-f1"]
    assert await batches.open_ids() == []


@pytest.mark.parametrize("kind", ["none", "deleted", "expired", "foreign"])
async def test_a_file_that_is_not_there(
    batches: BatchRecords, files: FileRecords, redis: Redis, keys: Keys, kind: str
) -> None:
    if kind != "none":
        await files.create(file("f1", tenant="b" if kind == "foreign" else "a"))
    if kind == "deleted":
        await files.delete("f1", "a")
    if kind == "expired":
        await redis.hset(keys.file("f1"), "expires_at", 1)
    await batches.create(new("b1"))
    record = await batches.get("b1")
    assert record is not None
    assert record.input_blob is None


async def test_an_idempotency_key_stands_for_one_request(batches: BatchRecords) -> None:
    key = Idempotency(key="k", request="r")
    assert await batches.create(new("b1", idempotency=key)) == (Creation.NEW, "b1")
    assert await batches.create(new("b2", idempotency=key)) == (Creation.KNOWN, "b1")
    other = Idempotency(key="k", request="other")
    assert await batches.create(new("b3", idempotency=other)) == (Creation.REUSED, "b1")
    assert await batches.create(new("b4", tenant="b", idempotency=other)) == (Creation.NEW, "b4")
    assert await batches.get("b2") is None
    assert await batches.get("b3") is None


@pytest.mark.parametrize("status", list(BatchState))
async def test_which_batches_can_be_cancelled(
    batches: BatchRecords, redis: Redis, keys: Keys, status: BatchState
) -> None:
    await batches.create(new("b1"))
    await redis.hset(keys.record("b1"), "status", status.value)
    move = await batches.cancel("b1")
    can_be = status in (S.VALIDATING, S.IN_PROGRESS, S.FINALIZING)
    assert move.is_done == can_be
    assert move.status is (S.CANCELLING if can_be else status)
    record = await batches.get("b1")
    assert record is not None
    assert (record.batch.cancelling_at is not None) == can_be


async def test_a_move_takes_place_once(batches: BatchRecords) -> None:
    await batches.create(new("b1"))
    moves = [await batches.move("b1", (S.VALIDATING,), S.IN_PROGRESS, total=5) for _ in range(2)]
    assert [move.is_done for move in moves] == [True, False]
    record = await batches.get("b1")
    assert record is not None
    assert record.batch.in_progress_at is not None
    assert record.batch.request_counts.total == 5
    unknown = await batches.move("nope", (S.VALIDATING,), S.IN_PROGRESS)
    assert (unknown.is_done, unknown.status) == (False, None)


async def test_a_failed_batch_says_why(batches: BatchRecords) -> None:
    await batches.create(new("b1"))
    errors = BatchErrors(data=[LineError(code="c", message="m", param="p", line=3)])
    assert (await batches.fail("b1", errors)).is_done
    record = await batches.get("b1")
    assert record is not None
    assert record.batch.errors == errors
    assert record.batch.failed_at is not None


async def test_the_end_comes_with_its_files_at_once(
    batches: BatchRecords, files: FileRecords
) -> None:
    await batches.create(new("b1"))
    await batches.move("b1", (S.VALIDATING,), S.FINALIZING)
    end = ending(S.COMPLETED, output=file("out"), error=file("err"))
    wrong = await batches.finish("b1", S.IN_PROGRESS, end)
    assert (wrong.is_done, wrong.status) == (False, S.FINALIZING)
    assert await files.get("out", "a") is None
    assert (await batches.finish("b1", S.FINALIZING, end)).is_done
    assert not (await batches.finish("b1", S.FINALIZING, end)).is_done
    record = await batches.get("b1")
    assert record is not None
    batch = record.batch
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("completed", "out", "err")
    assert batch.request_counts.model_dump() == {"total": 3, "completed": 2, "failed": 1}
    assert batch.usage == end.usage
    output = await files.get("out", "a")
    assert output is not None
    assert output.file.expires_at == output.file.created_at + 60
    assert await files.held_blobs() == {"blob-out", "blob-err"}


async def test_a_batch_may_end_without_files(batches: BatchRecords) -> None:
    await batches.create(new("b1"))
    await batches.finish("b1", S.VALIDATING, ending(S.EXPIRED))
    record = await batches.get("b1")
    assert record is not None
    assert (record.batch.output_file_id, record.batch.error_file_id) == (None, None)
    assert record.batch.expired_at is not None


async def test_pages_begin_with_the_newest(batches: BatchRecords) -> None:
    for n in range(5):
        await batches.create(new(f"b{n}"))
    first = await batches.page("a", PageRequest(limit=2))
    assert first is not None
    assert [record.batch.id for record in first.items] == ["b4", "b3"]
    assert first.has_more
    rest = await batches.page("a", PageRequest(limit=3, after="b3"))
    assert rest is not None
    assert [record.batch.id for record in rest.items] == ["b2", "b1", "b0"]
    assert not rest.has_more


async def test_a_batch_is_tied_to_the_first_folder(batches: BatchRecords) -> None:
    await batches.create(new("b1"))
    assert await batches.claim("b1", "here") == "here"
    assert await batches.claim("b1", "there") == "here"


async def test_names_of_keys_agree_with_the_scripts(redis: Redis) -> None:
    from jobs.scripts import assemble

    keys = Keys("other-space")
    names = """
--@include _keys.lua
--@include _records.lua
return {file_key('F'), files_key('T'), record_key('B'), records_key('T'),
  idempotency_key('T', 'D'), FILE_EXPIRY, OPEN, BLOBS, GARBAGE, SEQUENCE}
"""
    by_script = await redis.eval(assemble(names), 1, keys.prefix)
    assert [name.decode() for name in by_script] == [
        keys.file("F"),
        keys.files("T"),
        keys.record("B"),
        keys.records("T"),
        keys.idempotency("T", "D"),
        keys.file_expiry,
        keys.open_records,
        keys.blobs,
        keys.garbage,
        keys.sequence,
    ]
