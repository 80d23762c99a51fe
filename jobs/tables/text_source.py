"""Tables in CSV and JSONL files.

Opening reads the files once through, for the types of the columns and the number of rows.

Owns: reading them in pieces, rows that are none. Must not know: how a row is written, how types are
found.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from jobs.errors import InputError
from jobs.producers.lines import foreign_kind
from jobs.tables.arrow_cells import conform
from jobs.tables.places import TableFile, TableFormat, TablePlace
from jobs.tables.source import Row
from jobs.tables.text_rows import csv_rows, json_rows
from jobs.tables.text_types import CsvTypes, JsonTypes, TextTypes
from jobs.tables.unchanged import check_unchanged
from schemas.errors import ApiError

__all__ = ["TextSource"]

_ROWS_AT_ONCE = 1_000
_BYTES_AT_ONCE = 4 << 20
_BUFFER_BYTES = 1 << 20


class TextSource:
    """A TableSource over the files of `place`. Compressed files are decompressed as they are read.

    In `batches` a row that is none is a row of nulls.
    """

    def __init__(self, place: TablePlace) -> None:
        """Raises InputError if a file cannot be read."""
        self.name = place.name
        self.digest = place.digest
        self._place = place
        self._is_csv = place.format is TableFormat.CSV
        self._types: TextTypes = CsvTypes() if self._is_csv else JsonTypes()
        self.num_rows = 0
        problem: str | None = None
        for file in place.files:
            for rows in self._pieces(file):
                self.num_rows += len(rows)
                self._types.add([row for row in rows if not isinstance(row, ApiError)])
                refused = next((row for row in rows if isinstance(row, ApiError)), None)
                if problem is None and refused is not None:
                    problem = f"{self._name_of(file)} holds no table: {refused.message}"
        if problem is not None and not self._types.schema().names:
            raise InputError(problem)
        partitions = place.partitions
        own = [field for field in self._types.schema() if field.name not in partitions.names]
        self.schema = pa.schema([*own, *partitions])

    def rows(self, columns: Sequence[str]) -> Iterator[list[Row]]:
        """See TableSource. Cells of JSONL are as they were written, those of CSV as typed."""
        for file in self._place.files:
            for rows in self._pieces(file):
                if self._is_csv:
                    typed: list[Row] = list(self._batch(rows, columns, file).to_pylist())
                    yield [
                        row if isinstance(row, ApiError) else cells
                        for row, cells in zip(rows, typed, strict=True)
                    ]
                else:
                    yield [
                        row
                        if isinstance(row, ApiError)
                        else {**{name: row.get(name) for name in columns}, **file.partition}
                        for row in rows
                    ]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See TableSource."""
        for file in self._place.files:
            for rows in self._pieces(file):
                yield self._batch(rows, columns, file)

    def check_unchanged(self) -> None:
        """See TableSource."""
        check_unchanged(self._place)

    def _batch(
        self, rows: Sequence[Row], columns: Sequence[str], file: TableFile
    ) -> pa.RecordBatch:
        columns = list(columns) or self.schema.names[:1]  # else nobody knows how many rows
        schema = pa.schema([self.schema.field(name) for name in columns])
        cells: list[Mapping[str, Any]] = [{} if isinstance(row, ApiError) else row for row in rows]
        own = [field for field in schema if field.name not in file.partition]
        try:
            arrays = [
                self._types.array([row.get(field.name) for row in cells], field.type)
                for field in own
            ]
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            raise InputError(f"{self._name_of(file)} cannot be read: {error}") from error
        if not own:
            arrays, own = [pa.nulls(len(rows))], [pa.field("", pa.null())]
        batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(own))
        return conform(batch, schema, file.partition, self.name)

    def _pieces(self, file: TableFile) -> Iterator[list[Row]]:
        """The rows of one file, a thousand at a time, fewer where these would be large."""
        with self._opened(file) as raw:
            piece: list[Row] = []
            start = 0
            opened: io.BufferedReader = io.BufferedReader(raw, _BUFFER_BYTES)
            if kind := foreign_kind(opened.peek(_BUFFER_BYTES)):
                raise InputError(f"is {kind}")
            for row in self._read(file, opened):
                piece.append(row)
                if len(piece) == _ROWS_AT_ONCE or raw.num_bytes - start > _BYTES_AT_ONCE:
                    yield piece
                    piece, start = [], raw.num_bytes
            if piece:
                yield piece

    def _read(self, file: TableFile, opened: io.BufferedReader) -> Iterator[Row]:
        if not isinstance(self._types, CsvTypes):
            return json_rows(opened)
        is_tabbed = ".tsv" in file.name.lower().rpartition("/")[2]
        return csv_rows(opened, delimiter="\t" if is_tabbed else ",", on_header=self._types.expect)

    @contextmanager
    def _opened(self, file: TableFile) -> Iterator["_Counted"]:
        """The bytes of a file; errors name the file."""
        name = self._name_of(file)
        try:
            with self._place.filesystem.open_input_stream(file.path, compression="detect") as raw:
                yield _Counted(raw)
        except InputError as error:
            raise InputError(f"{name} {error}") from error
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())[:500]
            raise InputError(f"{name} cannot be read: {reason}") from error

    def _name_of(self, file: TableFile) -> str:
        is_one = len(self._place.files) == 1
        return self.name if is_one else f"{file.name} in {self.name}"


class _Counted(io.RawIOBase):
    """One of Arrow's streams for Python's readers. `num_bytes` were read so far, decompressed."""

    def __init__(self, stream: Any) -> None:
        self.num_bytes = 0
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = int(self._stream.readinto(buffer))
        self.num_bytes += count
        return count
