"""`headrace enqueue`: a file's jobs into a queue that others work off.

Owns: the producer's side of a batch. Must not know: flags, engines. Nothing here imports torch, and
Arrow only to write rows to files (fetch.py).
"""

import asyncio
import json
import sys
from time import monotonic, time

from jobs.identity import new_batch_id
from jobs.producers.fanout import FanoutReport, fan_out, keep_fanned_out
from jobs.producers.jsonl import JsonlProducer, check_strictly
from jobs.producers.lines import InputFile, open_input
from jobs.queue import BatchSpec
from jobs.registry import Registry
from jobs.sinks.target import Target, TargetKind, parse_target
from worker.bad_lines import refuse_bad_lines
from worker.batches import known_status
from worker.connection import Connection, bodies_in, needed_url, open_connection
from worker.errors import EXIT_OK, RunError
from worker.interruptible import interruptible
from worker.logging import redact_url
from worker.producing import producer_settings
from worker.settings import EnqueueSettings

__all__ = ["enqueue_file"]

_GIVE_UP_S = 60.0


def enqueue_file(settings: EnqueueSettings) -> int:
    """Put a file's jobs into the queue and print the batch's id; wait for its end if asked to.

    Raises SettingsError, RunError, InterruptedRun, JobsError.
    """
    needed_url(settings.queue)
    target = parse_target(settings.output) if settings.output is not None else None
    source = open_input(settings.file)
    return asyncio.run(_enqueue(settings, source, target))


async def _enqueue(settings: EnqueueSettings, source: InputFile, target: Target | None) -> int:
    started_s = monotonic()
    batch_id = settings.batch_id or new_batch_id()
    bodies = await asyncio.to_thread(bodies_in, settings.blobs)
    async with open_connection(settings.queue, give_up_s=_GIVE_UP_S, bodies=bodies) as connection:
        known = await Registry(connection.redis, connection.keys).known_models()
        names = set(known) or None
        if settings.batch.on_bad_line == "fail":
            errors = await asyncio.to_thread(check_strictly, source, served_models=names)
            refuse_bad_lines(settings.file, errors)
        await _announce(connection, settings, batch_id, source, target)
        sys.stdout.write(f"{batch_id}\n")
        sys.stdout.flush()
        producer = JsonlProducer(
            source,
            served_models=names,
            settings=producer_settings(settings.batch, takes_large=bodies is not None),
        )
        fanned_out = await interruptible(
            fan_out(connection.queue, batch_id, producer),
            f"interrupted; continue with: {settings.resume_command} --batch-id {batch_id}",
        )
        if fanned_out.refused_in_state is not None:
            raise RunError(_refusal(batch_id, fanned_out))
        report = producer.report
        sys.stderr.write(
            f"headrace: {report.num_jobs:,} jobs enqueued, {report.num_bad:,} lines refused\n"
        )
        if not settings.wait:
            return EXIT_OK
        place = None if target is None or target.kind is TargetKind.REDIS else target
        return await interruptible(
            _wait(connection, batch_id, producer, place, started_s),
            "interrupted, the batch goes on; wait for it with: "
            + _results_command(settings, batch_id),
        )


async def _wait(
    connection: Connection,
    batch_id: str,
    producer: JsonlProducer,
    target: Target | None,
    started_s: float,
) -> int:
    """Wait for the end, and send again what a server forgets that was rolled back."""
    from worker.fetch import wait_for_batch

    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(keep_fanned_out(connection.queue, batch_id, producer))
        code = await wait_for_batch(connection, batch_id, target, started_s)
        keeping.cancel()
    return code


async def _announce(
    connection: Connection,
    settings: EnqueueSettings,
    batch_id: str,
    source: InputFile,
    target: Target | None,
) -> None:
    """Create the batch, or find the one of an interrupted enqueue of the same file."""
    batch = settings.batch
    metadata = {"input": str(settings.file), "sha256": source.sha256}
    if batch.dedupe:
        metadata["order"] = "dedupe"
    spec = BatchSpec(
        batch_id=batch_id,
        tenant=batch.tenant,
        priority=batch.priority,
        expires_at_ms=int((time() + batch.expires_in) * 1000) if batch.expires_in else None,
        sink=_sink(target, wait=settings.wait),
        metadata_json=json.dumps(metadata),
    )
    if await connection.queue.create_batch(spec):
        return
    status = await known_status(connection, batch_id)
    known = json.loads(status.metadata_json or "{}")
    if known.get("sha256") != source.sha256:
        raise RunError(f"batch {batch_id} exists and has another input than {settings.file}")
    if known.get("order") != metadata.get("order"):
        with_or_without = "with" if known.get("order") else "without"
        raise RunError(f"batch {batch_id} was begun {with_or_without} --dedupe; continue it so")


def _refusal(batch_id: str, report: FanoutReport) -> str:
    if not report.refused_in_state:
        return f"batch {batch_id} is gone from Redis; enqueue the file again"
    return (
        f"batch {batch_id} is {report.refused_in_state} with the {report.position} lines that were "
        "enqueued before its end; enqueue the others as a new batch"
    )


def _sink(target: Target | None, *, wait: bool) -> str:
    if target is not None and target.kind is TargetKind.REDIS:
        return "redis"
    return "client" if target is None or wait else str(target)


def _results_command(settings: EnqueueSettings, batch_id: str) -> str:
    output = settings.output if settings.output not in (None, "redis") else "OUT"
    place = redact_url(settings.queue.redis or "")
    return f"headrace results {batch_id} -o {output} --redis {place}"
