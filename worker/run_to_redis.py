"""`headrace run -o redis`: rows that stay in Redis.

Owns: a run without files. Must not know: how jobs are run. It cannot be resumed as a run: the
batch stays in the queue, where any worker continues it.
"""

import asyncio
import json
import sys
from time import monotonic, time

from jobs.errors import UnknownBatchError
from jobs.identity import new_batch_id
from jobs.outbox_rows import entry_to_row
from jobs.producers.fanout import fan_out
from jobs.producers.jsonl import JsonlProducer, check_strictly
from jobs.producers.lines import InputFile, open_input
from jobs.queue import BatchSpec
from jobs.redis_queue import RedisQueue
from worker.bad_lines import refuse_bad_lines
from worker.collect import snapshot
from worker.connection import Connection, bodies_in, open_connection, queue_settings
from worker.errors import InterruptedRun
from worker.health_port import open_health_port
from worker.lazy_worker import LazyWorker
from worker.maintain import build_maintenance
from worker.metrics import WorkerMetrics
from worker.names import served_names
from worker.options import engine_config
from worker.producing import producer_settings
from worker.progress import Display, Summary
from worker.settings import RunSettings
from worker.shutdown import Shutdown
from worker.vitals import Vitals

__all__ = ["run_to_redis"]

_LOOK_EVERY_S = 0.25
_ROWS_AT_ONCE = 500


async def run_to_redis(settings: RunSettings, display: Display, started_s: float) -> Summary:
    """Run the file's jobs and leave their rows in the outbox of the batch, whose id is printed.

    Raises InterruptedRun, SettingsError, JobsError, EngineError.
    """
    source = open_input(settings.file)
    process = settings.process
    config = engine_config(process.model, process.engine)
    names = served_names(process.model)
    if settings.batch.on_bad_line == "fail":
        refuse_bad_lines(settings.file, check_strictly(source, served_models=names))
    metrics, shutdown = WorkerMetrics(names[0]), Shutdown()
    worker = LazyWorker(config, names, process.service, metrics, display)
    producer = JsonlProducer(
        source,
        served_models=names,
        settings=producer_settings(settings.batch, takes_large=process.blobs is not None),
    )
    with shutdown.handling_signals():
        async with open_connection(
            process.queue,
            settings=queue_settings(lease_s=process.service.lease_seconds),
            bodies=await asyncio.to_thread(bodies_in, process.blobs),
        ) as connection:
            vitals = Vitals(connection.retrying, shutdown, stall_s=process.service.lease_seconds)
            spec = _spec(settings, source)
            await connection.queue.create_batch(spec)
            sys.stdout.write(f"{spec.batch_id}\n")
            with open_health_port(metrics.registry, vitals, process.service):
                async with asyncio.TaskGroup() as group:
                    maintaining = group.create_task(build_maintenance(connection, metrics).run())
                    producing = group.create_task(
                        _produce(connection, spec.batch_id, producer, worker)
                    )
                    working = group.create_task(worker.run(connection, vitals, shutdown))
                    following = group.create_task(
                        _follow(connection, spec.batch_id, display, worker, shutdown)
                    )
                    await shutdown.stopping.wait()
                    producing.cancel()
                    await working
                    is_complete = following.done()
                    following.cancel()
                    maintaining.cancel()
            if not is_complete:
                _leave(settings, spec.batch_id, shutdown)
            await connection.queue.finish(spec.batch_id)
            return await _count(connection.queue, spec.batch_id, worker, started_s)


def _spec(settings: RunSettings, source: InputFile) -> BatchSpec:
    batch = settings.batch
    return BatchSpec(
        batch_id=new_batch_id(),
        tenant=batch.tenant,
        priority=batch.priority,
        expires_at_ms=int((time() + batch.expires_in) * 1000) if batch.expires_in else None,
        sink="redis",
        metadata_json=json.dumps({"input": str(settings.file), "sha256": source.sha256}),
    )


async def _produce(
    connection: Connection, batch_id: str, producer: JsonlProducer, worker: LazyWorker
) -> None:
    def note(_position: int) -> None:
        if producer.report.num_jobs:
            worker.has_jobs.set()

    report = await fan_out(connection.queue, batch_id, producer, on_progress=note)
    if report.refused_in_state == "":
        raise UnknownBatchError(f"the queue lost batch {batch_id}")


async def _follow(
    connection: Connection,
    batch_id: str,
    display: Display,
    worker: LazyWorker,
    shutdown: Shutdown,
) -> None:
    """Show progress; stop the run when every line has its row."""
    while True:
        now = await snapshot(connection.queue, batch_id, worker.num_generated_tokens)
        display.update(now)
        if now.total is not None and now.num_done >= now.total:
            shutdown.stop()
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _leave(settings: RunSettings, batch_id: str, shutdown: Shutdown) -> None:
    assert shutdown.signal_number is not None
    queue, model = settings.process.queue, settings.process.model
    raise InterruptedRun(
        f"interrupted, batch {batch_id} stays in Redis; continue with: headrace worker "
        f"--redis {queue.redis} --namespace {queue.namespace} --model {model.model}",
        signal_number=shutdown.signal_number,
    )


async def _count(queue: RedisQueue, batch_id: str, worker: LazyWorker, started_s: float) -> Summary:
    """The sums over the rows, which stay where they are."""
    num_ok = num_failed = prompt = cached = completion = 0
    after: str | None = None
    while entries := await queue.read_outbox(batch_id, _ROWS_AT_ONCE, after=after):
        for row in map(entry_to_row, entries):
            num_ok += row.status_code == 200
            num_failed += row.status_code != 200
            prompt += row.prompt_tokens or 0
            cached += row.cached_tokens or 0
            completion += row.completion_tokens or 0
        after = entries[-1].entry_id
    return Summary(
        num_ok=num_ok,
        num_failed=num_failed,
        num_reused=0,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        num_generated_tokens=worker.num_generated_tokens,
        computing_s=worker.computing_s,
        wall_s=monotonic() - started_s,
        files=(f"redis batch {batch_id}: headrace results {batch_id} -o OUT writes its rows",),
    )
