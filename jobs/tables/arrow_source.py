"""Tables in Parquet and Arrow IPC files.

Files are read one after the other, a few thousand rows at a time: a Parquet file page by page
(whole row groups would be as large as their writer liked), an Arrow file batch by batch.

Owns: reading them, the columns of files that do not have the same. Must not know: which files there
are, what rows are for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import InputError
from jobs.tables.arrow_cells import cells_of, conform, plain_schema
from jobs.tables.places import TableFile, TableFormat, TablePlace
from jobs.tables.source import Row
from jobs.tables.unchanged import check_unchanged

__all__ = ["ArrowSource"]

_BATCH_ROWS = 2_048
_BUFFER_BYTES = 1 << 20


class ArrowSource:
    """A TableSource over the files of `place`. Opening reads their footers, not their rows.

    A column that a file lacks is null there; types that differ are widened (int to float).
    """

    def __init__(self, place: TablePlace) -> None:
        """Raises InputError if a file cannot be read, or its columns cannot stand with others'."""
        self.name = place.name
        self.digest = place.digest
        self._place = place
        self.num_rows = 0
        schemas: list[pa.Schema] = []
        for file in place.files:
            with self._opened(file) as reader:
                schema = plain_schema(reader.schema, self._name_of(file))
                self.num_rows += reader.count_rows()
            if not schemas or schema != schemas[-1]:
                schemas.append(schema)
        self.schema = self._unified(schemas)

    def rows(self, columns: Sequence[str]) -> Iterator[list[Row]]:
        """See TableSource."""
        columns = list(columns) or self.schema.names[:1]  # a template may need none
        for batch in self.batches(columns):
            yield cells_of(batch, self.name)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See TableSource."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        for file in self._place.files:
            with self._opened(file) as reader:
                for batch in reader.batches(columns):
                    yield conform(batch, schema, file.partition, self._name_of(file))

    def check_unchanged(self) -> None:
        """See TableSource."""
        check_unchanged(self._place)

    def _unified(self, schemas: Sequence[pa.Schema]) -> pa.Schema:
        """The columns of all files, then those of their folders' names, which go first."""
        try:
            whole = pa.unify_schemas(list(schemas), promote_options="permissive")
        except pa.ArrowException as error:
            raise InputError(
                f"the files of {self.name} do not have the same columns: {_one_line(error)}"
            ) from error
        partitions = self._place.partitions
        own = [field for field in whole if field.name not in partitions.names]
        if not own and not partitions.names:
            raise InputError(f"{self.name} has no columns")
        return pa.schema([*own, *partitions])

    def _name_of(self, file: TableFile) -> str:
        is_one = len(self._place.files) == 1
        return self.name if is_one else f"{file.name} in {self.name}"

    @contextmanager
    def _opened(self, file: TableFile) -> Iterator["_ParquetReader | _ArrowReader"]:
        """A reader of the file, whose errors name the file."""
        try:
            with self._place.filesystem.open_input_file(file.path) as opened:
                if self._place.format is TableFormat.PARQUET:
                    yield _ParquetReader(opened)
                else:
                    yield _ArrowReader(opened)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self._name_of(file)} cannot be read: {_one_line(error)}") from error


class _ParquetReader:
    """One Parquet file."""

    def __init__(self, file: Any) -> None:
        self._file = pq.ParquetFile(
            file,
            buffer_size=_BUFFER_BYTES,
            pre_buffer=False,
            coerce_int96_timestamp_unit="us",  # Spark's; as nanoseconds 9999-12-31 is in 1816
        )
        self.schema: pa.Schema = self._file.schema_arrow

    def count_rows(self) -> int:
        count: int = self._file.metadata.num_rows
        return count

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        there = [name for name in columns if name in self.schema.names]
        yield from self._file.iter_batches(_BATCH_ROWS, columns=there, use_threads=False)


class _ArrowReader:
    """One Arrow IPC file, or a stream in a file."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._is_stream = file.read_at(6, 0) != b"ARROW1"
        self.schema: pa.Schema = self._open().schema

    def count_rows(self) -> int:
        reader = self._open()
        if not self._is_stream:
            return int(reader.count_rows())
        return sum(batch.num_rows for batch in reader)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        # A batch without columns would not know how many rows it has.
        there = [name for name in columns if name in self.schema.names] or self.schema.names[:1]
        reader = self._open()
        if self._is_stream:
            whole = (batch.select(there) for batch in reader)
        else:
            wanted = [self.schema.get_field_index(name) for name in there]
            options = pa.ipc.IpcReadOptions(included_fields=sorted(wanted), use_threads=False)
            reader = pa.ipc.open_file(self._file, options=options)
            numbers = range(reader.num_record_batches)
            whole = (reader.get_batch(number).select(there) for number in numbers)
        for batch in whole:
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield batch.slice(start, _BATCH_ROWS)

    def _open(self) -> Any:
        self._file.seek(0)
        return pa.ipc.open_stream(self._file) if self._is_stream else pa.ipc.open_file(self._file)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
