"""A worker in the middle of a batch, on a server that is about to be in trouble.

The loop, the committer, the lease keeper and the maintenance are real, and so is the server; the
model is not.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis.exceptions import RedisError

from engine.step import StepPlan, StepResult
from jobs.embedded_server import EmbeddedServer
from jobs.maintenance import Maintenance, MaintenanceSettings
from jobs.queue import BatchStatus
from jobs.server import connect
from jobs.upkeep import Upkeep
from tests.worker.doubles import ScriptedExecutor, fake_machine
from tests.worker.site import RunningWorker, Site, chat

NUM_JOBS = 120
WAITING = "Redis cannot be used, waiting for it"
AGAIN = "Redis can be used again"


class SlowSteps(ScriptedExecutor):
    """Long enough for a batch to be in the middle of."""

    def submit(self, plan: StepPlan) -> StepResult:
        time.sleep(0.01)
        return super().submit(plan)


def port_of(server: EmbeddedServer) -> int:
    return int(server.url.rpartition(":")[2].partition("/")[0])


@asynccontextmanager
async def working(
    url: str, *, lease_s: float = 1.0, num_jobs: int = NUM_JOBS
) -> AsyncIterator[tuple[Site, RunningWorker]]:
    """A worker on a batch, of which some rows are recorded already."""
    client = connect(url)
    site = Site(client, lease_s=lease_s)
    try:
        await site.submit(*(chat(f"text {k}", max_tokens=8) for k in range(num_jobs)))
        async with site.worker(fake_machine(SlowSteps())) as worker:
            await until(lambda: recorded(site, 5))
            yield site, worker
    finally:
        await client.aclose()


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def recorded(site: Site, num_rows: int) -> bool:
    return (await site.status()).num_finished >= num_rows


async def check_rows(site: Site, *, attempts: set[int] | None = None) -> BatchStatus:
    """Wait for the end: one right row for each line, and counters that say the same."""
    status = await site.finished(timeout_s=60)
    rows = await site.rows()  # fails if a line has two
    assert sorted(rows) == list(range(len(rows)))
    assert {row.content for row in rows.values()} == {"abcdefgh"}
    assert status.num_ok == len(rows) == status.total
    if attempts is not None:
        assert {row.attempt for row in rows.values()} <= attempts
    return status


def times_said(caplog: pytest.LogCaptureFixture, text: str, logger: str = "jobs.retrying") -> int:
    return sum(text in record.message for record in caplog.records if record.name == logger)


@asynccontextmanager
async def maintained(site: Site) -> AsyncIterator[None]:
    """Maintenance in a hurry: its sweeps repair and settle."""
    upkeep = Upkeep(site.connection.redis, site.queue.keys, site.queue.settings)
    settings = MaintenanceSettings(sweep_every_s=0.2, quiet_sweeps=3)
    maintenance = Maintenance(site.queue, upkeep, settings=settings)

    async def sweep() -> None:
        while True:
            try:
                await maintenance.sweep()
            except RedisError as error:
                logging.getLogger(__name__).info("sweeping later: %s", error)
            await asyncio.sleep(settings.sweep_every_s)

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
