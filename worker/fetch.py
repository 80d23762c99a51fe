"""Waiting for a batch that others compute, and writing its rows to files.

Owns: the client's side of a batch's end. Must not know: how the batch was enqueued.
"""

import asyncio

from jobs.outbox_rows import entry_to_row
from jobs.queue import BatchStatus
from jobs.result_store import ResultStore
from jobs.run_state import open_run_folder
from jobs.sinks.target import Target, prepare_target
from worker.body_sweeper import drop_bodies
from worker.collect import Collector, snapshot_of
from worker.connection import Connection
from worker.errors import EXIT_OK, EXIT_ROWS_FAILED, RunError
from worker.maintain import build_maintenance
from worker.path_sinks import batch_facts, open_batch_store
from worker.progress import Display, open_display, print_summary
from worker.run_complete import summary_of

__all__ = ["wait_for_batch"]

_LOOK_EVERY_S = 0.25
_ROWS_AT_ONCE = 500
_REDIS_SINK = "redis"


async def wait_for_batch(
    connection: Connection, batch_id: str, target: Target | None, started_s: float
) -> int:
    """Wait until a batch is over; write its rows to `target`, if there is one, and print the
    summary. Returns the exit code of a run. Takes part in the maintenance meanwhile, so that a
    cancelled or expired batch ends even if no worker lives.

    Raises RunError if rows are not to be had any more, StoreError, TargetError.
    """
    display = open_display()
    display.phase("waiting for workers")
    try:
        async with asyncio.TaskGroup() as group:
            maintaining = group.create_task(build_maintenance(connection).run())
            if target is None:
                code = await _follow_to_the_end(connection, batch_id, display)
            else:
                code = await _fetch(connection, batch_id, target, display, started_s)
            maintaining.cancel()
    finally:
        display.close()
    return code


async def _follow_to_the_end(connection: Connection, batch_id: str, display: Display) -> int:
    """Wait without taking rows: the outbox may wait for `headrace results`."""
    while True:
        status = await _status(connection, batch_id)
        display.update(snapshot_of(status, 0))
        if status.total is not None and status.num_finished >= status.total:
            return EXIT_OK if status.num_ok == status.total else EXIT_ROWS_FAILED
        await asyncio.sleep(_LOOK_EVERY_S)


async def _fetch(
    connection: Connection, batch_id: str, target: Target, display: Display, started_s: float
) -> int:
    prepare_target(target)
    assert target.state_folder is not None
    with open_run_folder(target.state_folder):
        store = await asyncio.to_thread(open_batch_store, target, batch_id)
        collector = Collector(queue=connection.queue, store=store, display=display)
        if (await _status(connection, batch_id)).sink == _REDIS_SINK:
            await _follow_to_the_end(connection, batch_id, display)
            await _copy_rows(connection, batch_id, store)
        else:
            await collector.collect()
        status = await _status(connection, batch_id)
        _check_complete(status, store)
        report = await collector.write_files(target, batch_facts(status), num_rows=None)
    await drop_bodies(connection, batch_id)
    display.close()
    summary = summary_of(report.counts, num_reused=0, started_s=started_s, files=report.files)
    print_summary(summary)
    return EXIT_ROWS_FAILED if summary.num_failed else EXIT_OK


async def _copy_rows(connection: Connection, batch_id: str, store: ResultStore) -> None:
    """Rows whose sink is Redis stay there."""
    after: str | None = None
    while entries := await connection.queue.read_outbox(batch_id, _ROWS_AT_ONCE, after=after):
        rows = [entry_to_row(entry) for entry in entries]
        await asyncio.to_thread(store.append, rows)
        after = entries[-1].entry_id


def _check_complete(status: BatchStatus, store: ResultStore) -> None:
    num_missing = (status.total or 0) - len(store.done)
    if num_missing > 0:
        raise RunError(
            f"{num_missing} of {status.total} rows of batch {status.batch_id} are neither in Redis "
            f"any more nor in {store.place}: they were fetched to another output, or files were "
            "damaged there"
        )


async def _status(connection: Connection, batch_id: str) -> BatchStatus:
    status = await connection.queue.status(batch_id)
    if status is None:
        raise RunError(f"batch {batch_id} is gone from Redis")
    return status
