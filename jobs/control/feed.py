"""From an ordered batch to jobs in the queue.

Owns: the order of these steps: judge the file, announce the batch to the queue, say in_progress,
enqueue the lines. Must not know: HTTP, who computes, where results go. Each step finds out what an
earlier, killed feed has done. A batch that is cancelled or expired before its lines are in the
queue is fed all the same: its lines then end as rows that say so.
"""

import asyncio
import logging
from contextlib import ExitStack
from dataclasses import replace
from time import monotonic

from jobs.control.check import CheckSettings, Verdict, check_input
from jobs.control.context import SINK, Control
from jobs.errors import BlobMissingError, InputError
from jobs.producers.classify import LineSettings
from jobs.producers.fanout import fan_out
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import InputFile
from jobs.producers.windows import ProducerSettings
from jobs.queue import BatchSpec, BatchState
from jobs.records.batches import BatchRecord
from jobs.recovery import count_outcomes
from jobs.store import PartStore
from schemas.batch_object import BatchErrors, LineError

__all__ = ["feed", "input_producer"]

_log = logging.getLogger(__name__)

# Small chunks: while Redis takes one, requests of the endpoint wait.
_CHUNKS = ProducerSettings(chunk_items=100, chunk_bytes=1 << 20)
_BEFORE_THE_END = (BatchState.VALIDATING, BatchState.IN_PROGRESS, BatchState.CANCELLING)


async def feed(control: Control, batch_id: str) -> None:
    """Do what is left to do until the batch's last line is in the queue.

    Raises JobsError and redis' errors; then it is to be tried again.
    """
    record = await control.batches.get(batch_id)
    if record is None or record.status not in _BEFORE_THE_END:
        return
    store_id = control.workspace.store_id
    if await control.batches.claim(batch_id, store_id) != store_id:
        return  # its results are gathered in another data folder
    if record.input_blob is None or record.input_purpose != "batch":
        await _fail(control, record, _unusable_file(record))
        return
    with ExitStack() as stack:
        try:
            source = await asyncio.to_thread(_open, control, record, stack)
        except BlobMissingError:
            if record.status is not BatchState.IN_PROGRESS:
                await _fail(control, record, _unknown_file(record))
                return
            raise
        except InputError as error:
            if " is " not in str(error):  # the disk's trouble, not the file's
                raise
            await _fail(control, record, _no_text(error))
            return
        await _feed_from(control, record, source)


async def _feed_from(control: Control, record: BatchRecord, source: InputFile) -> None:
    batch_id = record.batch.id
    if await control.queue.status(batch_id) is None:
        if record.status is BatchState.IN_PROGRESS:
            _log.warning("the queue does not know batch %s any more: it is fed again", batch_id)
        else:
            async with control.checks:
                verdict = await _judge(control, record, source)
            if verdict.errors:
                await _fail(control, record, *verdict.errors)
                return
            await _note(control, batch_id, verdict)
        await _announce(control, record)
    await control.batches.move(batch_id, (BatchState.VALIDATING,), BatchState.IN_PROGRESS)
    now = await control.batches.get(batch_id)
    if now is not None and now.status is BatchState.CANCELLING:
        await control.queue.cancel(batch_id)
    producer = input_producer(control, source)
    async with control.feeds:
        report = await fan_out(control.queue, batch_id, producer)
    if report.refused_in_state is None:
        _log.info("batch %s: all %d lines are in the queue", batch_id, report.position)


def input_producer(control: Control, source: InputFile) -> JsonlProducer:
    """The lines of a batch's input, always in the same order."""
    lines = LineSettings(
        max_body_bytes=control.settings.max_body_bytes,
        ignores_unknown=control.settings.ignores_unknown,
    )
    return JsonlProducer(source, settings=replace(_CHUNKS, lines=lines))


def _open(control: Control, record: BatchRecord, stack: ExitStack) -> InputFile:
    assert record.input_blob is not None
    return stack.enter_context(
        control.workspace.input(control.blobs, record.batch.id, record.input_blob)
    )


async def _judge(control: Control, record: BatchRecord, source: InputFile) -> Verdict:
    started_s = monotonic()
    settings = control.settings
    known = {*await control.registry.known_models(), *settings.served_models}
    verdict = await asyncio.to_thread(
        check_input,
        source,
        CheckSettings(
            endpoint=record.batch.endpoint,
            max_requests=settings.max_requests,
            served_models=known or None,  # where nobody ever served anything, jobs wait
            is_mixing_models=settings.is_mixing_models,
        ),
    )
    control.metrics.validation_seconds.observe(monotonic() - started_s)
    return verdict


async def _note(control: Control, batch_id: str, verdict: Verdict) -> None:
    fields: dict[str, str | int] = {"total": verdict.num_requests}
    if verdict.model is not None:
        fields["model"] = verdict.model
    await control.batches.note(batch_id, **fields)


async def _announce(control: Control, record: BatchRecord) -> None:
    """Make the queue know the batch, with the lines that have their result already: none, unless
    the queue has lost it.
    """
    batch = record.batch
    assert batch.expires_at is not None
    is_new = await control.queue.create_batch(
        BatchSpec(
            batch_id=batch.id,
            tenant=record.tenant,
            endpoint=batch.endpoint,
            expires_at_ms=batch.expires_at * 1000,
            sink=SINK,
        )
    )
    folder = control.workspace.parts_folder(batch.id)
    if is_new and folder.is_dir():
        loop = asyncio.get_running_loop()
        store = await loop.run_in_executor(control.thread, PartStore.open, folder, batch.id)
        counts = await loop.run_in_executor(control.thread, count_outcomes, store)
        await control.queue.restore(batch.id, list(store.done), counts)


async def _fail(control: Control, record: BatchRecord, *errors: LineError) -> None:
    """The end of a batch of which nothing runs. One that was cancelled meanwhile is cancelled."""
    batch_id = record.batch.id
    move = await control.batches.fail(batch_id, BatchErrors(data=list(errors)))
    if move.status is BatchState.CANCELLING:
        move = await control.batches.move(batch_id, (BatchState.CANCELLING,), BatchState.CANCELLED)
    if move.is_done and move.status is not None:
        control.metrics.batches_ended.labels(move.status.value).inc()
        _log.info("batch %s is %s: %d errors", batch_id, move.status.value, len(errors))


def _unusable_file(record: BatchRecord) -> LineError:
    if record.input_purpose is None:
        return _unknown_file(record)
    message = (
        f"The file {record.batch.input_file_id} has purpose '{record.input_purpose}'. "
        "The input of a batch must be uploaded with purpose 'batch'."
    )
    return LineError(code="invalid_request", message=message, param="file_id")


def _unknown_file(record: BatchRecord) -> LineError:
    message = (
        f"Cannot find file {record.batch.input_file_id[:200]}, or the organization does not have "
        "access to it."
    )
    return LineError(code="invalid_request", message=message, param="file_id")


def _no_text(error: InputError) -> LineError:
    """The first line of a file that is no text at all cannot be parsed either."""
    reason = str(error).rpartition(" is ")[2]
    message = f"This line is not parseable as valid JSON. (the file is {reason})"
    return LineError(code="invalid_json_line", message=message, line=1)
