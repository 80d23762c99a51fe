"""A queue with batches on it, and workers that run them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.outbox_rows import entry_to_row
from jobs.queue import BatchSpec, BatchStatus, NewJob
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.retrying import Retrying
from schemas.result import ResultRow
from worker.connection import Connection
from worker.machine import Machine
from worker.metrics import WorkerMetrics
from worker.shutdown import Shutdown
from worker.work import WorkSettings, work


def chat(text: str = "hi", **parameters: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **parameters}


class Site:
    """One namespace on one server. `lease_s` is short, so that lapses are quick."""

    def __init__(self, redis: Redis, *, lease_s: float = 2.0) -> None:
        self.lease_s = lease_s
        keys = Keys("test")
        settings = QueueSettings(
            lease_ms=int(lease_s * 1000),
            reap_every_ms=50,
            first_retry_ms=10,
            longest_retry_ms=20,
        )
        retrying = Retrying()
        self.queue = RedisQueue(redis, keys, settings, retrying=retrying)
        self.connection = Connection(
            redis=redis, keys=keys, settings=settings, retrying=retrying, queue=self.queue
        )

    async def submit(
        self, *bodies: dict[str, Any], batch_id: str = "batch", model: str = "m", **spec: Any
    ) -> None:
        await self.queue.create_batch(BatchSpec(batch_id=batch_id, **spec))
        jobs = [
            NewJob(
                idx=idx,
                custom_id=f"job-{idx}",
                model=model,
                url="/v1/chat/completions",
                cost_tokens=50,
                body=json.dumps(body).encode(),
            )
            for idx, body in enumerate(bodies)
        ]
        reply = await self.queue.enqueue(batch_id, 0, jobs, is_final=False)
        assert reply.accepted
        await self.queue.enqueue(batch_id, reply.position, [], is_final=True)

    async def status(self, batch_id: str = "batch") -> BatchStatus:
        status = await self.queue.status(batch_id)
        assert status is not None
        return status

    async def rows(self, batch_id: str = "batch") -> dict[int, ResultRow]:
        """The recorded rows; two for one line would be a failure of the queue."""
        entries = await self.queue.read_outbox(batch_id, 100_000)
        rows = {entry.idx: entry_to_row(entry) for entry in entries}
        assert len(rows) == len(entries)
        return rows

    async def finished(self, batch_id: str = "batch", *, timeout_s: float = 30.0) -> BatchStatus:
        async with asyncio.timeout(timeout_s):
            while True:
                status = await self.status(batch_id)
                if status.total is not None and status.num_finished == status.total:
                    return status
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def worker(
        self, machine: Machine, *, drain_s: float = 5.0
    ) -> AsyncIterator["RunningWorker"]:
        """A worker that runs inside the block and is stopped at its end."""
        running = RunningWorker(machine)
        running.shutdown.exit_now = lambda: None  # type: ignore[method-assign]
        settings = WorkSettings(lease_s=self.lease_s, drain_s=drain_s)
        task = asyncio.create_task(
            work(machine, self.connection, running.metrics, running.shutdown, settings)
        )
        running.task = task
        try:
            yield running
        finally:
            running.shutdown.stop()
            await asyncio.wait([task], timeout=30)
            if not task.done():
                task.cancel()
        await task


class RunningWorker:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.metrics = WorkerMetrics("m")
        self.shutdown = Shutdown()
        self.task: asyncio.Task[None] | None = None

    def metric(self, name: str, **labels: str) -> float:
        value = self.metrics.registry.get_sample_value(f"headrace:{name}", labels)
        assert value is not None, name
        return value
