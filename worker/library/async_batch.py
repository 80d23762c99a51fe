"""A batch on the queue that its client may come back to.

Owns: asking, cancelling, fetching. Must not know: how it was enqueued.
"""

import weakref
from dataclasses import dataclass

from jobs.errors import UnknownBatchError
from jobs.queue import BatchState, BatchStatus
from worker.connection import Connection
from worker.library.answers import AnswerColumns
from worker.library.errors import HeadraceError, clear_errors
from worker.library.progress import open_progress
from worker.library.queue_rows import QueueRows
from worker.library.result_stream import AsyncResults

__all__ = ["AsyncBatch"]

_FETCHABLE = ("client", "redis")


@dataclass(frozen=True, slots=True)
class AsyncBatch:
    """One batch by its id. Its rows stay on the queue until their reader asks for the
    next ones; what a reader got last before it left comes again.
    """

    _connection: Connection
    id: str
    _columns: AnswerColumns
    _streams: weakref.WeakSet[QueueRows]

    async def status(self) -> BatchStatus:
        """Where it stands. Raises HeadraceError if there is no such batch."""
        with clear_errors():
            status = await self._connection.queue.status(self.id)
            if status is None:
                raise UnknownBatchError(f"there is no batch {self.id}")
            return status

    async def cancel(self) -> BatchState:
        """Stop it; its state afterwards. Rows that are finished stay."""
        with clear_errors():
            state = await self._connection.queue.cancel(self.id)
            if state is None:
                raise UnknownBatchError(f"there is no batch {self.id}")
            return state

    async def stream(self, *, progress: bool | None = None) -> AsyncResults:
        """Its rows as they are finished, without those that were fetched before. Closing the
        results leaves the batch alone.
        """
        status = await self.status()
        if status.sink not in _FETCHABLE:
            raise HeadraceError(f"batch {self.id} writes its results to {status.sink}")
        rows = QueueRows(self._connection, self.id)
        self._streams.add(rows)
        return AsyncResults(rows, self._columns, display=open_progress(progress), batch_id=self.id)
