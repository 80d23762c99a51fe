"""The whole way of a file through jobs/, with a worker that answers at once."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.drain import Drain, DrainSettings
from jobs.identity import request_hash
from jobs.producers.fanout import fan_out
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.producers.reuse import ReuseIndex
from jobs.producers.windows import ProducerSettings
from jobs.queue import BatchSpec, BatchState, Commit, Outcome
from jobs.recovery import count_outcomes
from jobs.redis_queue import RedisQueue
from jobs.sinks.final import FinalReport, write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.target import parse_target, prepare_target
from jobs.store import PartStore
from schemas.result import ResultRow
from tests.jobs.builders import make_line, write_lines

FAST = DrainSettings(poll_s=0.001, max_wait_s=0.01)
SMALL = ProducerSettings(window_lines=20, chunk_items=7)
BATCH = "batch_a"


async def work(queue: RedisQueue, stop: asyncio.Event) -> None:
    """Answer each job with its own question."""
    while not stop.is_set():
        leases = await queue.take(
            "worker", ["demo"], max_jobs=16, max_cost_tokens=10**9, num_in_flight=0
        )
        commits = [
            Commit(
                lease=lease,
                outcome=Outcome.OK,
                payload=ResultRow(
                    idx=lease.idx,
                    custom_id=lease.custom_id,
                    status_code=200,
                    content=json.loads(lease.body)["messages"][0]["content"],
                    request_hash="0" * 32,
                    response_json="{}",
                ).encode(),
            )
            for lease in leases
        ]
        await queue.commit("worker", commits)
        await asyncio.sleep(0 if leases else 0.001)


async def run(queue: RedisQueue, folder: Path, lines: Sequence[bytes]) -> FinalReport:
    source = open_input(write_lines(folder / "in.jsonl", lines))
    target = parse_target(str(folder / "out"))
    prepare_target(target, source.path)
    assert target.state_folder is not None
    store = PartStore.open(target.state_folder / "generation-0001", BATCH)
    stop = asyncio.Event()
    worker = asyncio.create_task(work(queue, stop))
    await queue.create_batch(BatchSpec(batch_id=BATCH))
    drain = asyncio.create_task(Drain(queue, store, settings=FAST).run())
    await fan_out(queue, BATCH, JsonlProducer(source, served_models={"demo"}, settings=SMALL))
    report = await asyncio.wait_for(drain, 30)
    assert report.state is BatchState.FINALIZING
    assert await queue.finish(BATCH) is BatchState.COMPLETED
    stop.set()
    await worker
    facts = RunFacts(input_path=str(source.path), input_sha256=source.sha256)
    return write_final_files(target, store, facts=facts)


async def test_every_line_ends_in_one_row_in_input_order(queue: RedisQueue, tmp_path: Path) -> None:
    lines = [make_line(number) for number in range(90)]
    lines[3] = b""
    lines[17] = b"not json"
    lines[31] = make_line(31, body={"model": "other"})
    lines[44] = make_line(43)
    report = await run(queue, tmp_path, lines)
    assert (report.counts.num_rows, report.counts.num_ok, report.counts.num_failed) == (89, 86, 3)
    rows = pq.read_table(tmp_path / "out" / "results.parquet").to_pylist()
    assert [row["idx"] for row in rows] == list(range(89))
    expected = [f"request-{number}" for number in range(90) if number != 3]
    expected[16], expected[43] = None, "request-43"
    assert [row["custom_id"] for row in rows] == expected
    for row in rows:
        if row["status_code"] == 200:
            assert row["content"] == f"question {row['custom_id'].split('-')[1]}"
    errors = (tmp_path / "out" / "errors.jsonl").read_text().splitlines()
    codes = [json.loads(line)["response"]["body"]["error"]["code"] for line in errors]
    assert codes == ["invalid_json_line", "model_not_found", "duplicate_custom_id"]


@pytest.mark.parametrize("lines", [[], [b"", b" "]])
async def test_a_file_without_lines_completes(
    queue: RedisQueue, tmp_path: Path, lines: list[bytes]
) -> None:
    report = await run(queue, tmp_path, lines)
    assert report.counts.num_rows == 0
    assert [path.name for path in report.files] == ["results.parquet", "run.json"]


async def test_a_file_of_bad_lines_needs_no_worker(queue: RedisQueue, tmp_path: Path) -> None:
    report = await run(queue, tmp_path, [b"bad"] * 30)
    assert (report.counts.num_rows, report.counts.num_failed) == (30, 30)


async def test_cancelling_before_the_fan_out_is_over_gives_every_line_a_row(
    queue: RedisQueue, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [make_line(number) for number in range(60)])
    store = PartStore.open(tmp_path / "parts", BATCH)
    await queue.create_batch(BatchSpec(batch_id=BATCH))
    producer = JsonlProducer(open_input(path), settings=SMALL)
    await queue.enqueue(BATCH, 0, next(producer.chunks()), is_final=False)
    await queue.cancel(BATCH)
    await fan_out(queue, BATCH, producer)
    drain = asyncio.create_task(Drain(queue, store, settings=FAST).run())
    stop = asyncio.Event()
    worker = asyncio.create_task(work(queue, stop))
    await asyncio.wait_for(drain, 30)
    stop.set()
    await worker
    assert list(store.done) == list(range(60))
    assert count_outcomes(store).num_cancelled == 60


async def test_a_queue_that_lost_everything_is_told_what_the_files_hold(
    queue: RedisQueue, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [make_line(number) for number in range(50)])
    store = PartStore.open(tmp_path / "parts", BATCH)
    store.append([ResultRow(idx=idx, status_code=200, content="kept") for idx in range(0, 50, 2)])
    await queue.create_batch(BatchSpec(batch_id=BATCH))
    await queue.restore(BATCH, list(store.done), count_outcomes(store))
    await fan_out(queue, BATCH, JsonlProducer(open_input(path), settings=SMALL))
    stop = asyncio.Event()
    worker = asyncio.create_task(work(queue, stop))
    report = await asyncio.wait_for(Drain(queue, store, settings=FAST).run(), 30)
    stop.set()
    await worker
    assert report.num_rows == 25
    assert list(store.done) == list(range(50))
    assert await queue.finish(BATCH) is BatchState.COMPLETED


async def test_rows_of_an_earlier_run_are_not_computed_again(
    queue: RedisQueue, tmp_path: Path
) -> None:
    lines = [make_line(number) for number in range(40)]
    earlier = PartStore.open(tmp_path / "earlier", "batch_old")
    earlier.append(
        [
            ResultRow(
                idx=39 - number,
                custom_id=f"request-{number}",
                status_code=200 if number % 3 else 500,
                content="kept",
                request_hash=request_hash(json.loads(lines[number])["body"], "engine"),
                response_json='{"kept": true}',
            )
            for number in range(20)
        ]
    )
    files = [earlier.folder / part.file for part in earlier.parts]
    source = open_input(write_lines(tmp_path / "in.jsonl", lines))
    producer = JsonlProducer(source, known=ReuseIndex(files, "engine"), settings=SMALL)
    store = PartStore.open(tmp_path / "parts", BATCH)
    await queue.create_batch(BatchSpec(batch_id=BATCH))
    await fan_out(queue, BATCH, producer)
    assert producer.report.num_reused == 13
    stop = asyncio.Event()
    worker = asyncio.create_task(work(queue, stop))
    await asyncio.wait_for(Drain(queue, store, settings=FAST).run(), 30)
    stop.set()
    await worker
    tables = [store.read(part) for part in store.parts]
    rows = {row["idx"]: row for table in tables for row in table.to_pylist()}
    assert sorted(rows) == list(range(40))
    for idx, row in rows.items():
        is_kept = idx < 20 and idx % 3 != 0
        assert row["custom_id"] == f"request-{idx}"
        assert row["content"] == ("kept" if is_kept else f"question {idx}")
