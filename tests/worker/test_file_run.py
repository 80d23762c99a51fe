"""Runs that are over before all of their lines were in the queue: each line has its row all the
same.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import maintenance
from jobs.embedded_server import EmbeddedServer
from jobs.keys import Keys
from jobs.maintenance import MaintenanceSettings
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.windows import Item
from jobs.queue import BatchState
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from jobs.upkeep import Upkeep
from tests.worker.test_run import CountingExecutor, Stage, line, stage, write
from worker import cli, connection, file_run, run_plan

__all__ = ["stage"]  # a fixture

pytestmark = pytest.mark.redis

NUM_LINES = 60
CHUNK = 5
SILENCE_S = 0.05


@pytest.fixture(autouse=True)
def _small_and_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue for few jobs, in which a producer is dead after a moment of silence."""
    make_producer_settings = run_plan.producer_settings

    def queue_settings(**given: Any) -> QueueSettings:
        settings = connection.queue_settings(**given)
        timeout_ms = int(SILENCE_S * 1000)
        return replace(settings, max_depth=2 * CHUNK, producer_timeout_ms=timeout_ms)

    def producer_settings(*given: Any, **named: Any) -> Any:
        made = make_producer_settings(*given, **named)
        return replace(made, chunk_items=CHUNK, window_lines=CHUNK)

    often = MaintenanceSettings(sweep_every_s=0.02)
    monkeypatch.setattr(file_run, "queue_settings", queue_settings)
    monkeypatch.setattr(run_plan, "producer_settings", producer_settings)
    monkeypatch.setattr(maintenance, "MaintenanceSettings", lambda: often)


def command(folder: Path, server: EmbeddedServer, *more: str) -> list[str]:
    file = write(folder / "in.jsonl", *(line(f"r{n}", f"text {n}") for n in range(NUM_LINES)))
    at = ("--redis", server.url, "--namespace", folder.name)
    return ["run", str(file), "-o", str(folder / "out"), *at, *more]


def ends(folder: Path) -> Counter[str]:
    """Rows by error code; each line must have one."""
    rows = pq.read_table(folder / "out" / "results.parquet").to_pylist()
    assert [row["idx"] for row in rows] == list(range(NUM_LINES))
    assert [row["custom_id"] for row in rows] == [f"r{n}" for n in range(NUM_LINES)]
    return Counter(row["error_code"] or "ok" for row in rows)


async def end_without_producer(url: str, namespace: str, ending: str, *, is_finished: bool) -> None:
    """As somebody's maintenance does it, and whoever else fetches the rows."""
    redis, keys = connect(url), Keys(namespace)
    settings = QueueSettings(producer_timeout_ms=1)
    queue, upkeep = RedisQueue(redis, keys, settings), Upkeep(redis, keys, settings)
    (batch_id,) = await upkeep.active_batches()
    if ending == "batch_cancelled":
        await queue.cancel(batch_id)
    else:
        await redis.hset(keys.batch(batch_id), "expires_at", 1)
    await queue.reclaim_all(batch_id)
    await asyncio.sleep(0.002)
    (report,) = await upkeep.sweep([batch_id])
    assert report.state is BatchState.FINALIZING
    if is_finished:
        await redis.delete(keys.outbox(batch_id))
        assert (await queue.finish(batch_id)).is_final
    await redis.aclose()


@pytest.mark.parametrize(
    ("state", "ending"),
    [
        ("left", "batch_expired"),
        ("closed", "batch_expired"),
        ("closed", "batch_cancelled"),
        ("final", "batch_expired"),
        ("final", "batch_cancelled"),
    ],
)
def test_a_run_after_its_time_ends_every_line(
    tmp_path: Path, stage: Stage, server: EmbeddedServer, state: str, ending: str
) -> None:
    """Whether it finds its batch as it was left, closed for want of a producer, or final."""
    window = ("--expires-in", "2") if ending == "batch_expired" else ()
    arguments = command(tmp_path, server, *window)
    stage.make = lambda: CountingExecutor(signal_at=6)
    started_s = time.monotonic()
    assert cli.main(arguments) == 130
    stage.make = CountingExecutor
    if state != "left":
        at = (server.url, tmp_path.name)
        asyncio.run(end_without_producer(*at, ending, is_finished=state == "final"))
    if window:
        time.sleep(max(started_s + 2.1 - time.monotonic(), 0))
    assert cli.main(arguments) == 3
    ended = ends(tmp_path)
    assert ended.keys() <= {"ok", ending}
    assert ended[ending] >= NUM_LINES - 8 * CHUNK, "lines that were never in the queue"


def test_a_producer_that_reads_while_its_run_expires_ends_every_line(
    tmp_path: Path, stage: Stage, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is closed for want of a producer, although it lives."""
    chunks = JsonlProducer.chunks

    def slowly(self: JsonlProducer) -> Iterator[list[Item]]:
        for number, chunk in enumerate(chunks(self)):
            if number == 2:
                time.sleep(1.5)
            yield chunk

    monkeypatch.setattr(JsonlProducer, "chunks", slowly)
    assert cli.main(command(tmp_path, server, "--expires-in", "1")) == 3
    ended = ends(tmp_path)
    assert ended.keys() <= {"ok", "batch_expired"}
    assert ended["batch_expired"] >= NUM_LINES - 2 * CHUNK
