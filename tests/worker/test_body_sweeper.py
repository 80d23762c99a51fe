import os
from dataclasses import replace
from pathlib import Path

from redis.asyncio import Redis

from jobs.blobs import open_blobs
from jobs.bodies import INLINE_BYTES, Bodies
from jobs.queue import BatchSpec, NewJob
from jobs.redis_queue import RedisQueue
from tests.worker.site import Site
from worker.body_sweeper import sweep_bodies


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("body-*") if path.is_file()]


async def test_only_the_bodies_of_batches_that_ended_are_deleted(
    site: Site, redis: Redis, tmp_path: Path
) -> None:
    bodies = Bodies(open_blobs(str(tmp_path / "bodies")))
    old = site.connection
    queue = RedisQueue(redis, old.keys, old.settings, bodies=bodies)
    connection = replace(old, queue=queue, bodies=bodies)
    large = NewJob(
        idx=0,
        custom_id="a",
        model="m",
        url="/v1/chat/completions",
        cost_tokens=1,
        body=b" " * (INLINE_BYTES + 1),
    )
    for batch_id in ("open", "gone"):
        await queue.create_batch(BatchSpec(batch_id=batch_id))
        await queue.enqueue(batch_id, 0, [large], is_final=True)
    assert len(files_in(tmp_path)) == 2
    for path in files_in(tmp_path):
        os.utime(path, (1, 1))
    assert await sweep_bodies(connection, bodies) == 0
    await queue.delete_batch("gone")
    await queue.create_batch(BatchSpec(batch_id="retry_1"))
    assert await sweep_bodies(connection, bodies) == 0, "a revived job may need them"
    await queue.delete_batch("retry_1")
    assert await sweep_bodies(connection, bodies) == 1
    assert len(files_in(tmp_path)) == 1
