"""From recorded results to a batch's files and its end.

Owns: the order of these steps: rows into parts, parts into files, files into blobs, the record's
last move, and only then the queue's. Must not know: HTTP, who computed. Two of these may run at
once: parts drop rows they have, files come out the same, and one of the two makes the last move.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import TypeVar

from jobs.blobs import new_blob_key
from jobs.control.context import Control
from jobs.control.output import write_output
from jobs.drain import Drain, DrainSettings
from jobs.errors import BlobMissingError, StoreError
from jobs.gaps import fill_gaps
from jobs.producers.jsonl import JsonlProducer
from jobs.queue import BatchState
from jobs.records.batches import BatchRecord, Ending
from jobs.records.files import NewFile, new_file_id
from jobs.sinks.counts import RowCounts
from jobs.store import PartStore
from schemas.batch_object import (
    BatchUsage,
    InputTokensDetails,
    OutputTokensDetails,
    RequestCounts,
)

__all__ = ["collect", "open_store"]

_log = logging.getLogger(__name__)

_MAX_CALLS = 1000
_RUNNING = (BatchState.IN_PROGRESS, BatchState.CANCELLING)

T = TypeVar("T")


async def collect(control: Control, batch_id: str) -> None:
    """One pass: store what is recorded, and end the batch if it has its last result.

    Raises JobsError and redis' errors; then it is to be tried again.
    """
    record = await control.batches.get(batch_id)
    if record is None:
        await control.batches.close(batch_id)
        return
    if record.status.is_final:
        await _clear_away(control, batch_id)
        return
    if record.store_id != control.workspace.store_id:
        return
    status = await control.queue.status(batch_id)
    if status is None:
        return  # not fed yet
    if record.status is BatchState.CANCELLING:
        await control.queue.cancel(batch_id)
    if record.status is BatchState.CANCELLING or _is_late(record):
        await _make_rows(control, batch_id)
    if batch_id not in control.stores:
        control.stores[batch_id] = await _in_thread(control, open_store, control, batch_id)
    await _drain(control, control.stores[batch_id])
    status = await control.queue.status(batch_id)
    if status is not None and status.state not in _RUNNING:
        await _end(control, record)


def open_store(control: Control, batch_id: str) -> PartStore:
    """The parts of a batch. Blocks. Raises StoreError."""
    return PartStore.open(control.workspace.parts_folder(batch_id), batch_id)


def _is_late(record: BatchRecord) -> bool:
    return record.batch.expires_at is not None and record.batch.expires_at <= time()


async def _make_rows(control: Control, batch_id: str) -> None:
    """Turn waiting jobs of a batch that is over into rows, without waiting for a worker."""
    for _ in range(_MAX_CALLS):
        (report,) = await control.upkeep.sweep([batch_id])
        if report.num_rows_made == 0:
            return


async def _drain(control: Control, store: PartStore) -> None:
    """Store all rows that wait now."""
    settings = DrainSettings(retry_for_s=0.0)  # whoever called tries again
    drain = Drain(control.queue, store, settings=settings, thread=control.thread)
    while (report := await drain.flush()).num_rows + report.num_known:
        continue


async def _end(control: Control, record: BatchRecord) -> None:
    """Write the files of a batch whose lines all have a result, and finish it."""
    started_s, batch_id = monotonic(), record.batch.id
    control.stores.pop(batch_id, None)  # opened anew: another process may have stored rows too
    await control.batches.move(batch_id, (BatchState.IN_PROGRESS,), BatchState.FINALIZING)
    store = await _in_thread(control, open_store, control, batch_id)
    await _drain(control, store)
    await _fill_gaps(control, record, store)
    scratch = control.workspace.batch_folder(batch_id) / "final"
    files = await _in_thread(control, write_output, store, scratch)
    output = await asyncio.to_thread(_publish, control, record, files.output, "output")
    error = await asyncio.to_thread(_publish, control, record, files.error, "error")
    ending = _ending(control, record, files.counts, output, error)
    if (status := await _finish(control, batch_id, ending)) is not None:
        control.metrics.batches_ended.labels(status.value).inc()
        control.metrics.finalize_seconds.observe(monotonic() - started_s)
        _log.info("batch %s is %s", batch_id, status.value)
    else:  # another process was faster, and its files are the batch's
        for file in (output, error):
            if file is not None:
                await asyncio.to_thread(control.blobs.delete, file.blob)
    await _clear_away(control, batch_id)


async def _finish(control: Control, batch_id: str, ending: Ending) -> BatchState | None:
    """Make the last move, to the status that fits the one the batch has now; None if it was made
    already.
    """
    for _ in range(_MAX_CALLS):
        now = await control.batches.get(batch_id)
        if now is None or now.status.is_final:
            return None
        if now.status is BatchState.CANCELLING:
            ending = replace(ending, status=BatchState.CANCELLED)
        if (await control.batches.finish(batch_id, now.status, ending)).is_done:
            return ending.status
    raise StoreError(f"batch {batch_id} changes faster than it can be finished")


async def _fill_gaps(control: Control, record: BatchRecord, store: PartStore) -> None:
    """A batch whose producer was away while it was cancelled or expired may lack lines."""
    total = record.batch.request_counts.total
    if len(store.done) >= total:
        return
    code = None
    if record.status is BatchState.CANCELLING:
        code = "batch_cancelled"
    elif _is_late(record):
        code = "batch_expired"

    def fill() -> int:
        with ExitStack() as stack:
            producer = None
            if record.input_blob is not None:
                context = control.workspace.input(control.blobs, store.batch_id, record.input_blob)
                try:
                    producer = JsonlProducer(stack.enter_context(context))
                except BlobMissingError:
                    _log.error("the input of batch %s is gone", store.batch_id)
            return fill_gaps(store, producer, total=total, code=code)

    num_filled = await _in_thread(control, fill)
    _log.warning("batch %s: %d lines were never in the queue", store.batch_id, num_filled)


def _publish(control: Control, record: BatchRecord, path: Path | None, kind: str) -> NewFile | None:
    """Make one of the files a blob, under a key of its own: one that a slower process writes must
    never replace one that a batch names. None if there is no such file. Blocks.
    """
    if path is None:
        return None
    blob = new_blob_key()
    return NewFile(
        file_id=new_file_id(),
        tenant=record.tenant,
        blob=blob,
        num_bytes=control.blobs.put(blob, path),
        filename=f"{record.batch.id}_{kind}.jsonl",
        purpose="batch_output",
    )


def _ending(
    control: Control,
    record: BatchRecord,
    counts: RowCounts,
    output: NewFile | None,
    error: NewFile | None,
) -> Ending:
    lifetime_s = record.output_lifetime_s
    return Ending(
        status=BatchState.EXPIRED if counts.num_expired else BatchState.COMPLETED,
        counts=RequestCounts(
            total=counts.num_rows, completed=counts.num_ok, failed=counts.num_failed
        ),
        usage=BatchUsage(
            input_tokens=counts.prompt_tokens,
            input_tokens_details=InputTokensDetails(cached_tokens=counts.cached_tokens),
            output_tokens=counts.completion_tokens,
            output_tokens_details=OutputTokensDetails(reasoning_tokens=counts.reasoning_tokens),
            total_tokens=counts.prompt_tokens + counts.completion_tokens,
        ),
        lifetime_s=control.settings.output_lifetime_s if lifetime_s is None else lifetime_s,
        output=output,
        error=error,
    )


async def _clear_away(control: Control, batch_id: str) -> None:
    """After the last move: the queue's part, the disk's, and the name among the open ones."""
    control.stores.pop(batch_id, None)
    status = await control.queue.status(batch_id)
    if status is not None and not status.state.is_final:
        if status.num_outbox:  # rows that came twice: those of the files count
            await _drain(control, await _in_thread(control, open_store, control, batch_id))
        if not (await control.queue.finish(batch_id)).is_final:
            await control.queue.delete_batch(batch_id)
    await asyncio.to_thread(control.workspace.forget, batch_id)
    await control.batches.close(batch_id)


async def _in_thread(control: Control, work: Callable[..., T], *arguments: object) -> T:
    """Run `work`, which uses Arrow, in the one thread for that."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(control.thread, partial(work, *arguments))
