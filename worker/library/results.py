"""The results of one call for code without an event loop.

Owns: iteration by `for`, the Arrow stream interface. Must not know: where the rows come from. The
bar is drawn by the thread that iterates: in a notebook that is the one whose cell runs.
"""

import weakref
from collections.abc import Iterator
from typing import Any, Self

import pyarrow as pa

from worker.library.portal import Portal
from worker.library.result_stream import AsyncResults
from worker.progress import Display

__all__ = ["Results"]


class Results(Iterator[pa.RecordBatch]):
    """Record batches of finished rows, in the order in which they are finished, or all of them in
    input order (`table()`).

    It is an Arrow stream too: `polars.DataFrame(results)`, `pyarrow.table(results)`. Nothing runs
    before the first batch is asked for. Leaving the loop early, `close`, ctrl-C, or dropping the
    object end the work that is left.
    """

    def __init__(self, stream: AsyncResults, portal: Portal, display: Display) -> None:
        self._stream = stream
        self._portal = portal
        self._display = display
        self._close_display = weakref.finalize(self, display.close)  # once, whoever comes first

    @property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""
        return self._stream.schema

    @property
    def batch_id(self) -> str | None:
        """The id on the queue; None for an engine in this process."""
        return self._stream.batch_id

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> pa.RecordBatch:
        try:
            batch = self._portal.call(_next_or_none(self._stream))
        except BaseException:
            self.close()
            raise
        if batch is None:
            self._display.phase("done:")
            self._close_display()
            raise StopIteration
        self._display.update(self._stream.snapshot)
        return batch

    def table(self) -> pa.Table:
        """All rows that are left, in input order."""
        return self._stream.in_order(list(self))

    def close(self) -> None:
        """End the work that is left. Rows that were fetched are safe. May be called again."""
        self._close_display()
        if not self._portal.is_closed:
            self._portal.call(self._stream.close())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The batches that are left as an Arrow C stream (a PyCapsule)."""
        reader: Any = pa.RecordBatchReader.from_batches(self.schema, self)
        return reader.__arrow_c_stream__(requested_schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


async def _next_or_none(stream: AsyncResults) -> pa.RecordBatch | None:
    """StopAsyncIteration cannot pass through a future."""
    return await anext(stream, None)
