import os
from dataclasses import replace

from jobs.bodies import INLINE_BYTES, LARGEST_BYTES, Bodies, is_reference
from jobs.control.collect import collect
from jobs.control.feed import feed
from jobs.control.housekeeping import Housekeeping
from jobs.local_blobs import LocalBlobs
from tests.jobs.endpoint import Endpoint, line, lines


async def test_a_file_whose_time_is_over_goes_with_its_bytes(endpoint: Endpoint) -> None:
    gone, stays = await endpoint.upload(b"x"), await endpoint.upload(b"y")
    await endpoint.redis.hset(endpoint.keys.file(gone), "expires_at", 1)
    await endpoint.redis.zadd(endpoint.keys.file_expiry, {gone: 1})
    assert (await endpoint.client.get(f"/v1/files/{gone}")).status_code == 404
    listed = (await endpoint.client.get("/v1/files")).json()
    assert [file["id"] for file in listed["data"]] == [stays]
    assert len(list(endpoint.control.blobs.walk())) == 2
    await Housekeeping(endpoint.control).sweep_files()
    assert len(list(endpoint.control.blobs.walk())) == 1
    assert await endpoint.control.files.garbage() == []


async def test_old_left_overs_go_and_what_is_held_stays(endpoint: Endpoint) -> None:
    await endpoint.upload(b"held")
    blobs = endpoint.control.blobs
    assert isinstance(blobs, LocalBlobs)
    blobs.create("0" * 32).commit()
    blobs.create("1" * 32).commit()
    half_written = blobs.create("2" * 32)
    for info in list(blobs.walk()):
        if info.key != "1" * 32:
            path = blobs.folder / info.key[-2:] / info.key
            os.utime(path, (1, 1))
    housekeeping = Housekeeping(endpoint.control)
    await housekeeping.sweep_orphans()
    (owner,) = (info.key for info in blobs.walk() if info.key.startswith("owner-"))
    assert len(list(blobs.walk())) == 5, "the first round only says whose the blobs are"
    await housekeeping.sweep_orphans()
    left = {info.key for info in blobs.walk()}
    assert left == {"1" * 32, owner, *await endpoint.control.files.held_blobs()}
    half_written.abort()


async def test_a_store_that_others_use_keeps_everything(endpoint: Endpoint) -> None:
    """Also one whose Redis has lost its data: the records are gone, the bytes must not follow."""
    await endpoint.upload(b"precious")
    housekeeping = Housekeeping(endpoint.control)
    await housekeeping.sweep_orphans()
    await endpoint.redis.flushall()
    blobs = endpoint.control.blobs
    assert isinstance(blobs, LocalBlobs)
    for info in list(blobs.walk()):
        os.utime(blobs.folder / info.key[-2:] / info.key, (1, 1))
    before = {info.key for info in blobs.walk()}
    for _ in range(2):
        await housekeeping.sweep_orphans()
    assert before < {info.key for info in blobs.walk()}


async def test_lines_that_the_queue_lost_run_again(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(4)))
    await feed(endpoint.control, batch_id)
    await endpoint.answer(await endpoint.take(max_jobs=1))
    await collect(endpoint.control, batch_id)
    stream = endpoint.keys.stream(batch_id, "demo")
    await endpoint.redis.xtrim(stream, maxlen=0)
    housekeeping = Housekeeping(endpoint.control)
    await housekeeping.put_back_lost_lines()
    assert await endpoint.take() == [], "being quiet once is no proof"
    await housekeeping.put_back_lost_lines()
    await endpoint.answer(await endpoint.take())
    await endpoint.settle()
    batch = await endpoint.batch(batch_id)
    assert batch.request_counts.completed == 4
    assert len(await endpoint.content(batch.output_file_id)) == 4


async def test_large_requests_are_no_orphans(endpoint: Endpoint) -> None:
    """They are swept by who knows which batches and letters need them."""
    housekeeping = Housekeeping(endpoint.control)
    blobs = endpoint.control.blobs
    assert isinstance(blobs, LocalBlobs)
    key = "body-0123456789abcdef-7"
    blobs.create(key).commit()
    for _ in range(2):
        os.utime(blobs.folder / key[-2:] / key, (1, 1))
        await housekeeping.sweep_orphans()
    assert key in {info.key for info in blobs.walk()}


async def test_a_large_request_of_a_batch_lies_beside_the_queue(endpoint: Endpoint) -> None:
    endpoint.control.queue._bodies = Bodies(endpoint.control.blobs)
    settings = replace(endpoint.control.settings, max_body_bytes=LARGEST_BYTES)
    control = replace(endpoint.control, settings=settings)
    data = line("large", body={"user": "x" * INLINE_BYTES}) + b"\n" + line("small")
    batch_id = await endpoint.order(await endpoint.upload(data))
    await feed(control, batch_id)
    leases = await endpoint.take()
    assert sorted(is_reference(lease.body) for lease in leases) == [False, True]
    await endpoint.answer(leases)
    await endpoint.settle()
    assert (await endpoint.batch(batch_id)).request_counts.completed == 2
