"""A client of a queue for programs without an event loop.

Owns: the thread in which the asyncio client lives. Must not know: anything that the asyncio client
knows.
"""

from collections.abc import Iterable
from typing import Any, Self, Unpack

import pyarrow as pa

from jobs.queue import BatchState, BatchStatus
from worker.library.async_batch import AsyncBatch
from worker.library.async_client import AsyncClient, CallSettings
from worker.library.portal import Portal
from worker.library.progress import open_progress
from worker.library.request_lines import RequestItem
from worker.library.results import Results

__all__ = ["Batch", "Client"]


class Client:
    """A client of the queue at `redis` (an URL; `HEADRACE_REDIS` if None). Several threads may use
    it at once. Close it, or use `with`. Calls raise what AsyncClient's do.
    """

    def __init__(self, redis: str | None = None, *, namespace: str = "headrace") -> None:
        """Connect. Raises HeadraceError."""
        self._client = AsyncClient(redis, namespace=namespace)
        self._portal = Portal("headrace-client", last=self._client.close)
        try:
            self._portal.call(self._client.__aenter__())
        except BaseException:
            self._portal.close()
            raise

    def run(
        self,
        data: Iterable[RequestItem] | Any,
        *,
        progress: bool | None = None,
        **settings: Unpack[CallSettings],
    ) -> pa.Table:
        """Have every row answered and return the answers in input order."""
        with self.stream(data, progress=progress, **settings) as results:
            return results.table()

    def stream(
        self,
        data: Iterable[RequestItem] | Any,
        *,
        progress: bool | None = None,
        **settings: Unpack[CallSettings],
    ) -> Results:
        """The answers as they are finished; see AsyncClient.stream."""
        stream = self._portal.call(self._client.stream(data, progress=False, **settings))
        return Results(stream, self._portal, open_progress(progress))

    def submit(
        self, data: Iterable[RequestItem] | Any, **settings: Unpack[CallSettings]
    ) -> "Batch":
        """Put the rows into the queue as one batch; see AsyncClient.submit."""
        return Batch(self._portal.call(self._client.submit(data, **settings)), self._portal)

    def batch(self, batch_id: str) -> "Batch":
        """A batch that was submitted before, here or by `headrace enqueue`."""
        return Batch(self._portal.call(self._client.batch(batch_id)), self._portal)

    def close(self) -> None:
        """Close open streams, which cancels their batches, then the connection. Batches that were
        submitted go on. May be called again.
        """
        self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Batch:
    """One batch by its id. Its rows stay on the queue until their reader asks for the
    next ones; what a reader got last before it left comes again.
    """

    def __init__(self, batch: AsyncBatch, portal: Portal) -> None:
        self._batch = batch
        self._portal = portal

    @property
    def id(self) -> str:
        """What `headrace status`, `results` and `cancel` take."""
        return self._batch.id

    def status(self) -> BatchStatus:
        """Where it stands. Raises HeadraceError if there is no such batch."""
        return self._portal.call(self._batch.status())

    def cancel(self) -> BatchState:
        """Stop it; its state afterwards. Rows that are finished stay."""
        return self._portal.call(self._batch.cancel())

    def stream(self, *, progress: bool | None = None) -> Results:
        """Its rows as they are finished, without those that were fetched before. Closing the
        results leaves the batch alone.
        """
        stream = self._portal.call(self._batch.stream(progress=False))
        return Results(stream, self._portal, open_progress(progress))
