"""The results of one call as they are finished.

Owns: the order of fetching, counting and closing, and the bar. Must not know: engines, queues,
which columns there are. Closing a stream before its end, or dropping it, ends the work.
"""

import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import pyarrow as pa

from schemas.result import ResultRow
from worker.library.answers import AnswerColumns
from worker.library.errors import clear_errors
from worker.library.row_source import RowSource
from worker.progress import Display, Snapshot

__all__ = ["AsyncResults"]


@dataclass(slots=True)
class _Seen:
    """What was fetched so far; `order` has the line index of each row."""

    num_done: int = 0
    num_failed: int = 0
    order: list[int] = field(default_factory=list)

    def count(self, rows: Sequence[ResultRow]) -> None:
        self.num_done += len(rows)
        self.num_failed += sum(row.status_code != 200 for row in rows)
        self.order += [row.idx for row in rows]


class AsyncResults:
    """Record batches of finished rows, in the order in which they are finished (`async for`), or
    all of them in input order (`await table()`).

    Nothing runs before the first batch is asked for. Leaving the loop early does not end the work
    at once in async code: use `async with`, or `await close()`.
    """

    def __init__(
        self,
        source: RowSource,
        columns: AnswerColumns,
        *,
        display: Display | None = None,
        on_close: Callable[[], object] = lambda: None,
        batch_id: str | None = None,
        total: int | None = None,
    ) -> None:
        self.batch_id = batch_id
        self._source = source
        self._columns = columns
        self._display = display
        self._total = total
        self._seen = _Seen()
        self._on_close = [weakref.finalize(self, on_close)]
        if display is not None:
            self._on_close.append(weakref.finalize(self, display.close))
        self._batches = _batches(source, columns, self._seen)

    @property
    def schema(self) -> pa.Schema:
        """The columns of every batch."""
        return self._columns.schema

    @property
    def snapshot(self) -> Snapshot:
        """How far the call is."""
        return Snapshot(
            num_done=self._seen.num_done,
            num_failed=self._seen.num_failed,
            total=self._source.total if self._total is None else self._total,
            num_tokens=self._source.num_tokens,
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> pa.RecordBatch:
        try:
            batch = await anext(self._batches)
        except StopAsyncIteration:
            if self._display is not None:
                self._display.phase("done:")
            self._end()
            raise
        except BaseException:
            self._end()
            raise
        if self._display is not None:
            self._display.update(self.snapshot)
        return batch

    async def table(self) -> pa.Table:
        """All rows that are left, in input order."""
        return self.in_order([batch async for batch in self])

    def in_order(self, batches: Sequence[pa.RecordBatch]) -> pa.Table:
        """The latest `batches` as one table, in input order."""
        table = pa.Table.from_batches(batches, schema=self.schema)
        indexes = self._seen.order[len(self._seen.order) - table.num_rows :]
        order = sorted(range(len(indexes)), key=indexes.__getitem__)
        return table.take(pa.array(order, pa.int64())).combine_chunks()

    async def close(self) -> None:
        """End the work that is left. Rows that were fetched are safe. May be called again."""
        try:
            await self._batches.aclose()
        finally:
            self._end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def _end(self) -> None:
        for end in self._on_close:
            end()  # once, whoever comes first


async def _batches(
    source: RowSource, columns: AnswerColumns, seen: _Seen
) -> AsyncGenerator[pa.RecordBatch, None]:
    """A generator, because an event loop closes one that was dropped. So it must not hold what
    holds it.
    """
    try:
        while True:
            with clear_errors():
                rows = await source.next_rows()
            if not rows:
                return
            seen.count(rows)
            yield columns.batch(rows)
    finally:
        with clear_errors():
            await source.close()
