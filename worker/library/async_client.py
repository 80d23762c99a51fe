"""A client of a queue for asyncio programs.

Owns: the connection, what a call is made of. Must not know: how rows are fetched (queue_rows.py),
engines. Workers anywhere compute; this process only sends and fetches.
"""

import asyncio
import os
import weakref
from collections.abc import Iterable
from contextlib import AsyncExitStack
from time import time
from typing import Any, Self, Unpack, cast

import pyarrow as pa

from jobs.identity import new_batch_id
from jobs.producers.fanout import Producer, fan_out
from jobs.queue import BatchSpec
from jobs.registry import Registry
from worker.connection import Connection, open_connection
from worker.library.answers import ResultColumns
from worker.library.async_batch import AsyncBatch
from worker.library.errors import HeadraceError, clear_errors
from worker.library.progress import open_progress
from worker.library.queue_rows import QueueRows, give_up
from worker.library.request_lines import RequestItem
from worker.library.result_stream import AsyncResults
from worker.library.settings import BatchSettings, batch_options, check_names
from worker.library.submission import ModelSettings, Submission, submit
from worker.options import BatchOptions, QueueOptions
from worker.producing import producer_settings

__all__ = ["AsyncClient", "CallSettings"]

_GIVE_UP_S = 60.0


class CallSettings(ModelSettings, BatchSettings, total=False):
    """What a call may say: how rows become requests, and how the queue treats them."""


class AsyncClient:
    """A client of the queue at `redis` (an URL; `HEADRACE_REDIS` if None).

    It connects with the first call. Close it, or use `async with`.
    """

    def __init__(self, redis: str | None = None, *, namespace: str = "headrace") -> None:
        """Raises HeadraceError if no server is named."""
        url = redis or os.environ.get("HEADRACE_REDIS")
        if url is None:
            raise HeadraceError("which Redis? Give redis=URL or set HEADRACE_REDIS")
        self._options = QueueOptions(redis=url, namespace=namespace)
        self._open = AsyncExitStack()
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._streams: weakref.WeakSet[QueueRows] = weakref.WeakSet()

    async def run(
        self,
        data: Iterable[RequestItem] | Any,
        *,
        progress: bool | None = None,
        **settings: Unpack[CallSettings],
    ) -> pa.Table:
        """Have every row answered and return the answers in input order; see `stream`."""
        async with await self.stream(data, progress=progress, **settings) as results:
            return await results.table()

    async def stream(
        self,
        data: Iterable[RequestItem] | Any,
        *,
        progress: bool | None = None,
        **settings: Unpack[CallSettings],
    ) -> AsyncResults:
        """The answers as they are finished, as Arrow record batches.

        `data` is a table (anything with the Arrow PyCapsule interface) or requests: texts, bodies
        as OpenAI has them, or lines of a batch file. Closing the results before their end cancels
        the batch. Without `model` it is the only one that the queue knows. A row that fails has its
        error in its row. Raises HeadraceError if the call as a whole cannot be made.
        """
        with clear_errors():
            connection, submission, options = await self._prepare(data, settings)
            spec = _spec(options)
            try:
                producer = await self._producer(connection, submission, options)
            except BaseException:
                submission.remove()
                raise
            rows = QueueRows(connection, spec.batch_id, producer=producer, spec=spec)
        self._streams.add(rows)
        return AsyncResults(
            rows,
            submission.columns,
            display=open_progress(progress),
            on_close=submission.remove,
            batch_id=spec.batch_id,
            total=submission.num_rows,
        )

    async def submit(
        self, data: Iterable[RequestItem] | Any, **settings: Unpack[CallSettings]
    ) -> AsyncBatch:
        """Put the rows into the queue as one batch, and return when all are there. It is computed
        whether or not this process lives on.
        """
        with clear_errors():
            connection, submission, options = await self._prepare(data, settings)
            spec = _spec(options)
            try:
                producer = await self._producer(connection, submission, options)
                await connection.queue.create_batch(spec)
                await _all_or_nothing(connection, spec.batch_id, producer)
            finally:
                submission.remove()
            return AsyncBatch(connection, spec.batch_id, submission.columns, self._streams)

    async def batch(self, batch_id: str) -> AsyncBatch:
        """A batch that was submitted before, here or by `headrace enqueue`. Its rows have the
        columns of `results.parquet`.
        """
        with clear_errors():
            return AsyncBatch(await self._connected(), batch_id, ResultColumns(), self._streams)

    async def close(self) -> None:
        """Close open streams as they close themselves, then the connection. Batches that were
        submitted go on. May be called again.
        """
        for rows in list(self._streams):
            await rows.close()
        self._connection = None
        await self._open.aclose()

    async def __aenter__(self) -> Self:
        with clear_errors():
            await self._connected()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None:
                self._connection = await self._open.enter_async_context(
                    open_connection(self._options, give_up_s=_GIVE_UP_S)
                )
            return self._connection

    async def _prepare(
        self, data: Any, settings: CallSettings
    ) -> tuple[Connection, Submission, BatchOptions]:
        check_names(settings, CallSettings)
        given: dict[str, Any] = dict(settings)
        own = {name: given.pop(name) for name in BatchSettings.__annotations__ if name in given}
        options = batch_options(own)
        connection = await self._connected()
        if given.get("model") is None:
            known = await Registry(connection.redis, connection.keys).known_models()
            if len(known) == 1:
                given["model"] = next(iter(known))
        requests = cast(ModelSettings, given)
        return connection, await asyncio.to_thread(submit, data, requests), options

    async def _producer(
        self, connection: Connection, submission: Submission, options: BatchOptions
    ) -> Any:
        known = await Registry(connection.redis, connection.keys).known_models()
        return submission.producer(
            served_models=set(known) or None, settings=producer_settings(options)
        )


async def _all_or_nothing(connection: Connection, batch_id: str, producer: Producer) -> None:
    """Enqueue everything; a batch of which only a part arrived is cancelled: nobody knows it.

    Raises HeadraceError if somebody ended or removed it meanwhile.
    """
    try:
        report = await fan_out(connection.queue, batch_id, producer)
        if report.refused_in_state is not None:
            state = report.refused_in_state or "gone"
            raise HeadraceError(
                f"batch {batch_id} was {state} before all its rows were in the queue; submit again"
            )
    except BaseException:
        await asyncio.shield(give_up(connection, batch_id))
        raise


def _spec(options: BatchOptions) -> BatchSpec:
    expires_in_s = options.expires_in
    return BatchSpec(
        batch_id=new_batch_id(),
        tenant=options.tenant,
        priority=options.priority,
        expires_at_ms=int((time() + expires_in_s) * 1000) if expires_in_s else None,
    )
