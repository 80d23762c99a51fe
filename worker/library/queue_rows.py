"""The rows of a batch that workers elsewhere compute, as they are finished.

Owns: announcing a batch and keeping it on the queue, fetching its rows once, giving it up. Must not
know: Arrow, what rows are for. Rows stay on the queue until the next ones are asked for: whoever
asks has the former ones.
"""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic

import pyarrow as pa
from redis.exceptions import RedisError

from jobs.bitmap import Bitmap
from jobs.errors import JobsError, UnknownBatchError
from jobs.outbox_rows import entry_to_row, storable
from jobs.producers.fanout import Producer, keep_fanned_out
from jobs.queue import BatchSpec, BatchState, BatchStatus, OutboxEntry, OutcomeCounts
from jobs.result_table import rows_to_table
from jobs.upkeep import Upkeep
from schemas.result import ResultRow
from worker.connection import Connection
from worker.errors import first_cause
from worker.maintain import build_maintenance

__all__ = ["QueueRows", "give_up"]

_log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 500
_SHORTEST_POLL_S = 0.02
_LONGEST_POLL_S = 0.25
_FAREWELL_S = 2.0
_REDIS_SINK = "redis"


class QueueRows:
    """Rows of one batch. With a producer and a spec the batch is this object's own: announced with
    the first call, kept on the queue if its server forgets it, cancelled by `close` before its end.
    Without them somebody has enqueued it, and `close` leaves it alone.
    """

    def __init__(
        self,
        connection: Connection,
        batch_id: str,
        *,
        producer: Producer | None = None,
        spec: BatchSpec | None = None,
    ) -> None:
        self.total: int | None = None
        self.num_tokens = 0
        self._connection = connection
        self._queue = connection.queue
        self._upkeep = _upkeep(connection)
        self._batch_id = batch_id
        self._producer = producer
        self._spec = spec
        self._done = Bitmap()
        self._counts = {"ok": 0, "err": 0, "cancelled": 0, "expired": 0}
        self._fetched: list[str] = []
        self._after: str | None = None
        self._has_ended = False
        self._main: asyncio.Task[None] | None = None

    async def next_rows(self) -> list[ResultRow]:
        """Raises UnknownBatchError, and what the queue and the producer fail with."""
        if self._main is None:
            if self._spec is not None:
                await self._queue.create_batch(self._spec)
            self._main = asyncio.create_task(self._keep_going())
        poll_s = _SHORTEST_POLL_S
        while not self._has_ended:
            if self._main.done() and (error := self._main.exception()) is not None:
                raise first_cause(error)
            status = await self._queue.status(self._batch_id)
            if status is None:
                await self._announce_again()
                continue
            self.total = status.total
            if rows := await self._fetch(is_kept=status.sink == _REDIS_SINK):
                return rows
            await self._end_if_complete(status)
            if status.state is BatchState.CANCELLING:
                await self._upkeep.sweep([self._batch_id])  # no need to wait for the next round
            await asyncio.sleep(0 if self._has_ended else poll_s)
            poll_s = min(poll_s * 1.5, _LONGEST_POLL_S)
        return []

    async def close(self) -> None:
        """See RowSource. The batch is cancelled first, if it is this object's own."""
        if self._main is None:
            return
        is_given_up = self._spec is not None and not self._has_ended
        self._has_ended = True
        try:
            if is_given_up:
                await give_up(self._connection, self._batch_id)
        finally:
            self._main.cancel()
            await asyncio.wait([self._main])

    async def _keep_going(self) -> None:
        """Fan out, and take part in the maintenance, so that a batch ends without any worker."""
        async with asyncio.TaskGroup() as group:
            group.create_task(build_maintenance(self._connection).run())
            if self._producer is not None:
                group.create_task(keep_fanned_out(self._queue, self._batch_id, self._producer))

    async def _announce_again(self) -> None:
        """The server came back empty, or somebody emptied it; the fan-out goes on by itself."""
        if self._spec is None:
            raise UnknownBatchError(f"there is no batch {self._batch_id}")
        _log.warning("the queue lost batch %s: it is announced again", self._batch_id)
        self._fetched.clear()
        await self._queue.create_batch(self._spec)
        if len(self._done):
            counts = OutcomeCounts(**{f"num_{name}": n for name, n in self._counts.items()})
            await self._queue.restore(self._batch_id, list(self._done), counts)

    async def _fetch(self, *, is_kept: bool) -> list[ResultRow]:
        """The next rows that were not seen yet. Those of a batch whose rows stay in Redis are read
        with a cursor; others go when they have reached their reader.
        """
        if is_kept:
            entries = await self._queue.read_outbox(
                self._batch_id, _ROWS_AT_ONCE, after=self._after
            )
            self._after = entries[-1].entry_id if entries else self._after
            return self._fresh(entries)
        await self._queue.delete_outbox(self._batch_id, self._fetched)
        entries = await self._queue.read_outbox(self._batch_id, _ROWS_AT_ONCE)
        self._fetched = [entry.entry_id for entry in entries]
        return self._fresh(entries)

    def _fresh(self, entries: Sequence[OutboxEntry]) -> list[ResultRow]:
        """The rows of entries whose lines have none yet: a server that was rolled back delivers
        some of them again.
        """
        fresh = [entry for entry in entries if self._is_new(entry)]
        rows = [entry_to_row(entry) for entry in fresh]
        try:
            rows_to_table(rows)
        except (pa.ArrowException, ValueError, OverflowError):
            rows = storable(fresh, rows)
        self.num_tokens += sum(row.completion_tokens or 0 for row in rows)
        return rows

    def _is_new(self, entry: OutboxEntry) -> bool:
        if not Bitmap.can_hold(entry.idx) or not self._done.add(entry.idx):
            return False
        self._counts[entry.outcome.value] += 1
        return True

    async def _end_if_complete(self, status: BatchStatus) -> None:
        """`status` is from before the last look into the outbox, which found nothing."""
        if status.sink == _REDIS_SINK:
            self._has_ended = status.total is not None and status.num_finished >= status.total
        elif status.num_outbox == 0 and self._is_ending(status):
            await self._queue.finish(self._batch_id)
            self._has_ended = True

    def _is_ending(self, status: BatchStatus) -> bool:
        """A batch that was cut short while we produce for it gets the other lines yet."""
        if status.state is BatchState.FINALIZING:
            return self._producer is None or not status.is_cut_short
        return status.state.is_final


async def give_up(connection: Connection, batch_id: str) -> None:
    """Cancel a batch whose rows nobody wants, and let it end; one that workers still hold after a
    moment is forgotten, so that nothing of it stays: they drop its jobs with their next renewal.
    """
    queue, upkeep = connection.queue, _upkeep(connection)
    limit_s = monotonic() + _FAREWELL_S
    try:
        async with asyncio.timeout(2 * _FAREWELL_S):
            await queue.cancel(batch_id)
            while monotonic() < limit_s:
                await upkeep.sweep([batch_id])
                while entries := await queue.read_outbox(batch_id, _ROWS_AT_ONCE):
                    await queue.delete_outbox(batch_id, [entry.entry_id for entry in entries])
                if (await queue.finish(batch_id)).is_final:
                    return
                await asyncio.sleep(_SHORTEST_POLL_S)
            await queue.delete_batch(batch_id)
    except (TimeoutError, RedisError, OSError, JobsError) as error:
        _log.warning("batch %s may still be computed: %s", batch_id, error)


def _upkeep(connection: Connection) -> Upkeep:
    return Upkeep(
        connection.redis, connection.keys, connection.settings, retrying=connection.retrying
    )
