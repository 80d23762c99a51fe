"""Tables that are in memory already.

Owns: making a source of an Arrow table. Must not know: files, who has the table.
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from jobs.tables.arrow_cells import cells_of, conform, plain_schema
from jobs.tables.source import Row

__all__ = ["MemorySource"]

_ROWS_AT_ONCE = 1_000


class MemorySource:
    """A table in memory as a TableSource. It is never hashed: `digest` is that of the object."""

    def __init__(self, table: pa.Table, *, name: str = "the table") -> None:
        """Raises InputError if two columns have the same name."""
        self.name = name
        self.digest = f"memory-{id(table):x}"
        self.schema = plain_schema(table.schema, name)
        self.num_rows = table.num_rows
        self._table = table

    def rows(self, columns: Sequence[str]) -> Iterator[list[Row]]:
        """See TableSource."""
        if not columns:  # a template may need none
            columns = self.schema.names[:1]
        for batch in self.batches(columns):
            yield cells_of(batch, self.name)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """See TableSource."""
        schema = pa.schema([self.schema.field(name) for name in columns])
        table = self._table.select(list(columns))
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            yield conform(batch, schema, {}, self.name)

    def check_unchanged(self) -> None:
        """Arrow tables cannot change."""
