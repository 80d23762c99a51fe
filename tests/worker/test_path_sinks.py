"""Rows that maintenance writes into the paths of their batches."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs import drain
from jobs.errors import StoreError
from jobs.maintenance import Maintenance
from jobs.queue import BatchSpec, BatchState, BatchStatus, Commit, Lease, Outcome
from jobs.result_store import ResultStore
from jobs.sinks.target import Target, parse_target
from jobs.upkeep import Upkeep
from tests.jobs.builders import make_row
from tests.jobs.queue_lines import job, take
from tests.worker.site import Site
from worker import path_sinks
from worker.metrics import WorkerMetrics
from worker.path_sinks import PathSinks


@dataclass
class Sink:
    """The path sinks of one process after another, and its maintenance."""

    site: Site
    sinks: PathSinks
    maintenance: Maintenance

    @classmethod
    def of(cls, site: Site) -> "Sink":
        connection = site.connection
        sinks = PathSinks(connection, WorkerMetrics("m"))
        upkeep = Upkeep(connection.redis, connection.keys, connection.settings)
        return cls(site, sinks, Maintenance(site.queue, upkeep, drain=sinks.drain))

    async def finished(self, batch_id: str) -> BatchStatus:
        for _ in range(100):
            await self.maintenance.empty_outboxes()
            status = await self.site.status(batch_id)
            if status.state.is_final:
                return status
            await asyncio.sleep(0.05)
        pytest.fail("the batch is not finished")


@pytest.fixture
def sink(site: Site) -> Sink:
    return Sink.of(site)


async def add(site: Site, batch_id: str, out: Path, num_lines: int) -> None:
    sink = str(parse_target(str(out)))
    await site.queue.create_batch(BatchSpec(batch_id=batch_id, sink=sink))
    jobs = [job(idx) for idx in range(num_lines)]
    assert (await site.queue.enqueue(batch_id, 0, jobs, is_final=True)).accepted


async def compute(site: Site, num_jobs: int) -> None:
    leases = await take(site.queue, max_jobs=num_jobs)
    assert len(leases) == num_jobs
    await site.queue.commit(
        "worker-a",
        [Commit(lease=lease, outcome=Outcome.OK, payload=answer(lease)) for lease in leases],
    )


def answer(lease: Lease) -> bytes:
    return make_row(lease.idx, custom_id=lease.custom_id).encode()


def parts_of(out: Path) -> list[Path]:
    return sorted((out / ".headrace").rglob("part-*.parquet"))


def rows_in(out: Path) -> list[dict[str, Any]]:
    return pq.read_table(out / "results.parquet").to_pylist()


async def test_lines_whose_stored_rows_are_torn_are_in_the_final_files_as_lost(
    site: Site, sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    await add(site, "b", out, 6)
    await compute(site, 4)
    await sink.maintenance.empty_outboxes()
    assert (await site.status("b")).num_outbox == 0
    (part,) = parts_of(out)
    part.write_bytes(part.read_bytes()[:-9])
    await compute(site, 2)
    status = await Sink.of(site).finished("b")
    rows = rows_in(out)
    assert [row["idx"] for row in rows] == list(range(6))
    assert [row["error_code"] for row in rows] == [*["job_lost"] * 4, None, None]
    assert (status.state, status.num_ok, status.num_err) == (BatchState.COMPLETED, 2, 4)
    facts = json.loads((out / "run.json").read_text())
    assert (facts["counts"]["ok"], facts["counts"]["failed"]) == (2, 4)
    assert facts["error_codes"] == {"job_lost": 4}
    errors = [json.loads(each) for each in (out / "errors.jsonl").read_text().splitlines()]
    assert [each["response"]["status_code"] for each in errors] == [500] * 4
    assert "4 of 6 rows of batch b" in caplog.text


async def test_a_batch_of_which_nothing_is_lost_has_the_counts_of_its_files(
    site: Site, sink: Sink, tmp_path: Path
) -> None:
    await add(site, "b", tmp_path / "out", 3)
    await compute(site, 3)
    await site.connection.redis.hincrby(site.queue.keys.batch("b"), "ok", 5)  # a torn write
    status = await sink.finished("b")
    assert (status.num_ok, status.num_finished) == (3, 3)
    assert len(rows_in(tmp_path / "out")) == 3


async def test_a_folder_that_fails_delays_no_other_and_is_named_once(
    site: Site, sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await add(site, "a", tmp_path / "bad", 2)
    await compute(site, 1)
    await sink.maintenance.empty_outboxes()
    parts = tmp_path / "bad" / ".headrace" / "a"
    parts.rename(tmp_path / "elsewhere")
    await compute(site, 1)
    await add(site, "b", tmp_path / "good", 2)
    await compute(site, 2)
    started_s = monotonic()
    for _ in range(3):
        await sink.maintenance.empty_outboxes()
    assert monotonic() - started_s < 5
    assert (await site.status("b")).state is BatchState.COMPLETED
    assert (await site.status("a")).num_outbox == 1
    assert [each.message for each in caplog.records if "of batch a" in each.message] == [
        each.message for each in caplog.records
    ][:1]
    (tmp_path / "elsewhere").rename(parts)
    assert (await sink.finished("a")).num_ok == 2
    assert len(rows_in(tmp_path / "bad")) == 2


async def test_a_place_that_fails_slowly_is_not_asked_in_each_round(
    site: Site, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    open_store = path_sinks.open_batch_store

    def fail(target: Target, batch_id: str) -> ResultStore:
        asked.append(batch_id)
        if len(asked) > 1:
            return open_store(target, batch_id)
        time.sleep(0.2)
        raise StoreError("the store is far away")

    monkeypatch.setattr(path_sinks, "open_batch_store", fail)
    await add(site, "b", tmp_path / "out", 1)
    await compute(site, 1)
    drained = partial(sink.sinks.drain, "b", str(tmp_path / "out"))
    ended_s = monotonic() + 1.0
    while monotonic() < ended_s:
        with pytest.raises(StoreError, match="far away"):
            await drained()
    assert asked == ["b"]
    await asyncio.sleep(1.5)
    assert await drained()
    assert len(rows_in(tmp_path / "out")) == 1


async def test_one_thread_does_all_work_with_arrow(
    site: Site, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The allocator keeps memory for each that ever did some."""
    threads: set[int] = set()

    def spied(work: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*args: Any, **kwargs: Any) -> Any:
            threads.add(threading.get_ident())
            return work(*args, **kwargs)

        return spy

    monkeypatch.setattr(drain, "entry_to_row", spied(drain.entry_to_row))
    monkeypatch.setattr(path_sinks, "write_final_files", spied(path_sinks.write_final_files))
    for batch_id in ("a", "b"):
        await add(site, batch_id, tmp_path / batch_id, 2)
        for _ in range(2):
            await compute(site, 1)
            await sink.sinks.drain(batch_id, str(tmp_path / batch_id))
    assert len(threads) == 1
