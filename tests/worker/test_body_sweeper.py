import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jobs.blobs import open_blobs
from jobs.bodies import INLINE_BYTES, LEFT_BEHIND_S, Bodies, key_of
from jobs.queue import BatchSpec
from jobs.redis_queue import RedisQueue
from tests.jobs.queue_lines import take
from tests.worker.doubles import fake_machine
from tests.worker.site import Site, chat
from worker.body_sweeper import drop_bodies, sweep_bodies


@dataclass
class Place:
    """A queue whose large requests lie in a folder."""

    site: Site
    bodies: Bodies
    folder: Path

    @classmethod
    def at(cls, site: Site, folder: Path) -> "Place":
        bodies = Bodies(open_blobs(str(folder)))
        old = site.connection
        site.queue = RedisQueue(
            old.redis, old.keys, old.settings, retrying=old.retrying, bodies=bodies
        )
        site.connection = replace(old, queue=site.queue, bodies=bodies)
        return cls(site, bodies, folder)

    @property
    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("body-*") if path.is_file()]

    def age(self) -> None:
        for path in self.files:
            os.utime(path, (1, 1))

    async def sweep(self) -> int:
        return await sweep_bodies(self.site.connection, self.bodies)


@pytest.fixture
def place(site: Site, tmp_path: Path) -> Place:
    return Place.at(site, tmp_path / "bodies")


def large() -> dict[str, Any]:
    return chat("hi", user="x" * INLINE_BYTES)


async def test_only_the_bodies_of_batches_that_ended_are_deleted(place: Place) -> None:
    queue = place.site.queue
    for batch_id in ("open", "gone"):
        await place.site.submit(large(), batch_id=batch_id)
    assert len(place.files) == 2
    place.age()
    assert await place.sweep() == 0
    await queue.delete_batch("gone")
    await queue.create_batch(BatchSpec(batch_id="retry_1"))
    assert await place.sweep() == 0, "a revived job may need them"
    await queue.delete_batch("retry_1")
    assert await place.sweep() == 1
    assert len(place.files) == 1


async def test_a_body_outlives_its_row_and_goes_when_its_batch_ended_long_ago(
    place: Place,
) -> None:
    """Until then a server that is rolled back may bring its job back."""
    site = place.site
    await site.submit(large(), sink="redis")
    async with site.worker(fake_machine()):
        await site.finished()
    assert len(place.files) == 1
    place.age()
    assert await place.sweep() == 0, "it waits for its sink"
    assert (await site.queue.finish("batch")).is_final
    assert await place.sweep() == 0, "it has just ended"
    final_at = await site.connection.redis.hget(site.queue.keys.batch("batch"), "final_at")
    long_ago = int(final_at) - int(LEFT_BEHIND_S * 1000) - 1
    await site.connection.redis.hset(site.queue.keys.batch("batch"), "final_at", long_ago)
    assert await place.sweep() == 1


async def test_a_run_that_is_complete_needs_its_bodies_no_more(place: Place) -> None:
    for batch_id in ("batch", "other"):
        await place.site.submit(large(), batch_id=batch_id)
    await drop_bodies(place.site.connection, "batch")
    (left,) = place.files
    (lease,) = await take(place.site.queue, models=("m",), max_jobs=1)
    other = await take(place.site.queue, models=("m",), max_jobs=1)
    assert left.name in {key_of(each.body) for each in (lease, *other)}
    await drop_bodies(replace(place.site.connection, bodies=None), "other")
    assert place.files == [left]
