"""Results beside the rows that they belong to.

Results come in the order of the input, so that the input is read once more from its start and the
two go side by side, in flat memory.

Owns: bringing them together. Must not know: formats, how results are sorted.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from jobs.errors import StoreError
from jobs.tables.columns import OutputColumns
from jobs.tables.source import TableSource

__all__ = ["TableWriter"]


class _File(Protocol):
    @property
    def paths(self) -> list[Path]: ...

    def write(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...

    def abandon(self) -> None: ...


class TableWriter:
    """Writes an output table into `file` (jobs.sinks.final.RowWriter)."""

    def __init__(self, source: TableSource, columns: OutputColumns, file: _File) -> None:
        """Raises InputChangedError if the table is not the one that was run."""
        source.check_unchanged()
        self._source = source
        self._columns = columns
        self._file = file
        self._num_rows = 0
        self._kept = _Pieces(source.batches(columns.kept)) if columns.kept else None

    @property
    def paths(self) -> list[Path]:
        """The files that were written."""
        return self._file.paths

    def write(self, table: pa.Table) -> None:
        """Append the results of the next rows, in RESULT_SCHEMA. Raises StoreError, InputError."""
        first, last = self._num_rows, self._num_rows + table.num_rows
        if table.column("idx").to_pylist() != list(range(first, last)):
            raise StoreError(f"results of rows between {first} and {last} are missing")
        kept = self._kept.take(table.num_rows) if self._kept is not None else None
        self._file.write(self._columns.table(kept, table))
        self._num_rows = last

    def close(self) -> None:
        """Flush the files to the device. Raises StoreWriteError, InputChangedError."""
        self._source.check_unchanged()
        self._file.close()

    def abandon(self) -> None:
        """Close the files as they are, after a failure."""
        self._file.abandon()


class _Pieces:
    """Batches, cut anew."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._left: pa.RecordBatch | None = None

    def take(self, count: int) -> pa.Table:
        """The next `count` rows. Raises StoreError if there are fewer, and what reading raises."""
        taken: list[pa.RecordBatch] = []
        while count > 0:
            batch = self._left or next(self._batches, None)
            if batch is None:
                raise StoreError("there are more results than rows in the input")
            piece = batch.slice(0, count)
            count -= piece.num_rows
            self._left = batch.slice(piece.num_rows) if piece.num_rows < batch.num_rows else None
            taken.append(piece)
        return pa.Table.from_batches(taken)
