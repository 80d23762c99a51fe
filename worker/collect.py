"""From the queue's outbox to the user's files.

Owns: following one batch to its end: rows into parts, progress onto the screen, final files. Must
not know: who computes the rows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from jobs.drain import Drain, FlushReport
from jobs.errors import UnknownBatchError
from jobs.queue import BatchState, BatchStatus
from jobs.redis_queue import RedisQueue
from jobs.result_store import ResultStore
from jobs.sinks.final import FinalReport, MakeWriter, write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.target import Target
from worker.errors import RunError
from worker.progress import Display, Snapshot

__all__ = ["Collector", "snapshot_of"]

_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Brings one batch into files. `num_tokens` counts the output tokens of this process;
    `rebuild` announces the batch again if the queue has lost it; `is_producing` says whether lines
    are still to come: a batch that was cut short meanwhile is not at its end.
    """

    queue: RedisQueue
    store: ResultStore
    display: Display
    on_flush: Callable[[FlushReport], None] | None = None
    num_tokens: Callable[[], int] = lambda: 0
    rebuild: Callable[[], Awaitable[None]] | None = None
    is_producing: Callable[[], bool] = lambda: False

    @property
    def batch_id(self) -> str:
        return self.store.batch_id

    async def collect(self) -> BatchState:
        """Store rows until the batch has its last one. Returns the batch's final state.

        Raises StoreWriteError, UnknownBatchError if the queue loses the batch and nobody can
        announce it again.
        """
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(
                _follow(self.queue, self.batch_id, self.display, self.num_tokens)
            )
            await self._drain()
            follower.cancel()
        self.display.update(await _snapshot(self.queue, self.batch_id, self.num_tokens()))
        return await self.queue.finish(self.batch_id)

    async def _drain(self) -> None:
        """Store rows until the last one, also if the queue must be told everything again."""
        while True:
            report = await Drain(self.queue, self.store, on_flush=self.on_flush).run()
            if report.state is not None:
                if report.state.is_final or not self.is_producing():
                    return
                await asyncio.sleep(_LOOK_EVERY_S)
            elif self.rebuild is not None:
                await self.rebuild()
            else:
                raise UnknownBatchError(f"the queue does not know batch {self.batch_id} any more")

    async def flush(self) -> None:
        """Store the rows that are recorded now."""
        drain = Drain(self.queue, self.store, on_flush=self.on_flush)
        while True:
            report = await drain.flush()
            if not report.num_rows + report.num_known:
                return

    async def write_files(
        self,
        target: Target,
        facts: RunFacts,
        *,
        num_rows: int | None,
        make_writer: MakeWriter | None = None,
    ) -> FinalReport:
        """Write the final files, all rows in input order; `num_rows` is how many there must be,
        `make_writer` see write_final_files.

        Raises RunError if a line has no row, StoreWriteError, StoreDamagedError.
        """
        if num_rows is not None and len(self.store.done) < num_rows:
            raise RunError(
                f"{num_rows - len(self.store.done)} of {num_rows} rows are missing in "
                f"{self.store.place}; run the same command again to compute them"
            )
        self.display.phase("writing files")
        return await asyncio.to_thread(
            write_final_files, target, self.store, facts=facts, make_writer=make_writer
        )


async def _follow(
    queue: RedisQueue, batch_id: str, display: Display, num_tokens: Callable[[], int]
) -> None:
    """Show a batch's progress until cancelled."""
    while True:
        display.update(await _snapshot(queue, batch_id, num_tokens()))
        await asyncio.sleep(_LOOK_EVERY_S)


async def _snapshot(queue: RedisQueue, batch_id: str, num_tokens: int) -> Snapshot:
    """Where a batch stands; all zero if the queue does not know it."""
    return snapshot_of(await queue.status(batch_id), num_tokens)


def snapshot_of(status: BatchStatus | None, num_tokens: int) -> Snapshot:
    """The same of a batch whose status is known already."""
    if status is None:
        return Snapshot()
    return Snapshot(
        num_done=status.num_finished,
        num_failed=status.num_finished - status.num_ok,
        total=status.total,
        num_tokens=num_tokens,
    )
