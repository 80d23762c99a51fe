"""A producer and sink process of a chaos run, as `headrace run` has them, without a worker.

Owns: the composition, and the points around what changes the disk. Must not know: how many of these
processes there are: several race for the same outbox and the same folder.
"""

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.drain import Drain, DrainSettings
from jobs.lost_lines import LostLines
from jobs.producers.fanout import FanoutSettings, keep_fanned_out
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.queue import BatchSpec
from jobs.recovery import count_outcomes, put_back_missing
from jobs.store import PartStore
from jobs.upkeep import Upkeep
from tests.chaos.broken import CarelessStore
from tests.chaos.connecting import connected, upkeeper
from tests.chaos.kill_points import KillPoints
from tests.chaos.place import Place
from worker.connection import Connection

__all__ = ["run_sink"]

_DRAIN = DrainSettings(max_rows=100, max_wait_s=0.1, poll_s=0.02)
_FANOUT = FanoutSettings(look_every_s=0.2)
_GIVE_UP_S = 20.0
_LOOK_EVERY_S = 0.5


def run_sink(place: Place, name: str) -> Callable[[int], Callable[[], int]]:
    """The main function of each incarnation of the sink called `name`; it ends with code 0 when
    the batch is over and every row is on the disk.
    """

    def make(incarnation: int) -> Callable[[], int]:
        def main() -> int:
            with dying_on_the_way_to_disk(place.points(name, incarnation)) as points:
                return asyncio.run(_serve(place, points))

        return main

    return make


async def _serve(place: Place, points: KillPoints) -> int:
    kind = PartStore if place.queue_kind == "real" else CarelessStore
    store = kind.open(place.parts, place.batch_id)
    producer = JsonlProducer(open_input(place.input_path), served_models=(place.model,))
    async with connected(place, points, give_up_s=_GIVE_UP_S) as connection:
        queue, batch_id = connection.queue, place.batch_id
        await _announce(connection, place, store)
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(upkeeper(connection).run()),
                group.create_task(keep_fanned_out(queue, batch_id, producer, settings=_FANOUT)),
                group.create_task(_lost_lines(connection, producer, store).run()),
            ]
            while (await Drain(queue, store, settings=_DRAIN).run()).state is None:
                await _announce(connection, place, store)
            for task in background:
                task.cancel()
        await queue.finish(batch_id)
    return 0


async def _announce(connection: Connection, place: Place, store: PartStore) -> None:
    """Create the batch, if the queue does not know it, and say which lines the files hold."""
    spec = BatchSpec(batch_id=place.batch_id, expires_at_ms=place.expires_at_ms)
    if await connection.queue.create_batch(spec) and len(store.done):
        await connection.queue.restore(place.batch_id, list(store.done), count_outcomes(store))


def _lost_lines(connection: Connection, producer: JsonlProducer, store: PartStore) -> LostLines:
    async def put_back() -> bool:
        return await put_back_missing(connection.queue, store.batch_id, producer, store)

    upkeep = Upkeep(
        connection.redis, connection.keys, connection.settings, retrying=connection.retrying
    )
    return LostLines(upkeep, store.batch_id, put_back, look_every_s=_LOOK_EVERY_S)


@contextmanager
def dying_on_the_way_to_disk(points: KillPoints) -> Iterator[KillPoints]:
    """Put points around the system calls that make rows durable. Dying before fsync leaves what a
    power cut may leave: the file's beginning.
    """
    fsync, rename, link = os.fsync, os.rename, os.link

    def dying_fsync(descriptor: int) -> None:
        if points.draw("before-fsync"):
            size = os.fstat(descriptor).st_size
            if _is_plain_file(descriptor):
                os.ftruncate(descriptor, int(size * points.random()))
            points.die()
        fsync(descriptor)

    def dying_rename(source: Any, target: Any, **where: Any) -> None:
        is_part = Path(target).name.startswith("part-")
        if is_part:
            points.hit("before-rename")
        rename(source, target, **where)
        if is_part:
            points.hit("after-rename")

    def dying_link(source: Any, target: Any, **where: Any) -> None:
        points.hit("before-manifest")
        link(source, target, **where)
        points.hit("after-manifest")

    os.fsync, os.rename, os.link = dying_fsync, dying_rename, dying_link
    try:
        yield points
    finally:
        os.fsync, os.rename, os.link = fsync, rename, link


def _is_plain_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)
