"""A call on a table: its rows as jobs, and its columns beside the answers.

Owns: which columns stay, ids from a column. Must not know: engines, queues. What a row's request
and its answer look like is the same as for `headrace run` on a table (jobs/tables).
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.producers.windows import Item, KnownRows, ProducerSettings
from jobs.queue import FinishedRow, NewJob
from jobs.result_table import rows_to_table
from jobs.tables.columns import OutputColumns
from jobs.tables.memory_source import MemorySource
from jobs.tables.producer import TableProducer
from jobs.tables.requests import RowRequests, check_columns
from jobs.tables.template import RowTemplate
from schemas.result import ResultRow
from worker.library.errors import HeadraceError

__all__ = ["NamedRows", "TableColumns", "read_schema", "read_template", "row_names"]


class TableColumns:
    """The kept columns of a table beside the answers to its rows (worker.library.answers)."""

    def __init__(self, source: MemorySource, output: OutputColumns) -> None:
        self.schema = output.schema
        self._output = output
        self._kept = None
        if output.kept:
            batches = source.batches(output.kept)
            self._kept = pa.Table.from_batches(batches, schema=output.kept_schema).combine_chunks()

    def batch(self, rows: Sequence[ResultRow]) -> pa.RecordBatch:
        kept = self._kept
        if kept is not None:
            kept = kept.take(pa.array([row.idx for row in rows], pa.int64()))
        table = self._output.table(kept, rows_to_table(rows))
        return table.combine_chunks().to_batches()[0]


class NamedRows:
    """A table's producer whose rows have the ids of a column, so that another call knows them again
    wherever they stand. A row whose id is null goes by its number.
    """

    def __init__(
        self,
        source: MemorySource,
        requests: RowRequests,
        names: Sequence[str | None],
        *,
        served_models: Collection[str] | None = None,
        known: KnownRows | None = None,
        settings: ProducerSettings | None = None,
    ) -> None:
        self._names = names
        self._producer = TableProducer(
            source,
            requests,
            served_models=served_models,
            known=None if known is None else _KnownByName(known, self._named),
            settings=settings,
        )

    def chunks(self) -> Iterator[list[Item]]:
        """See jobs.producers.fanout.Producer."""
        for chunk in self._producer.chunks():
            yield [self._named(item) if isinstance(item, NewJob) else item for item in chunk]

    def _named(self, job: NewJob) -> NewJob:
        name = self._names[job.idx]
        return job if name is None else replace(job, custom_id=name)


class _KnownByName:
    """Known rows, looked up by the names that rows get only after that."""

    def __init__(self, known: KnownRows, named: Any) -> None:
        self.engine_identity = known.engine_identity
        self._known = known
        self._named = named

    def find(self, wanted: Sequence[tuple[NewJob, str]]) -> dict[int, FinishedRow]:
        return self._known.find([(self._named(job), digest) for job, digest in wanted])


def row_names(source: MemorySource, column: str) -> list[str | None]:
    """The ids of the rows as text. Raises TableSettingError if there is no such column."""
    check_columns([column], source.schema, what="the id column")
    cells = [cell for batch in source.batches([column]) for cell in batch.column(0).to_pylist()]
    return [None if cell is None else str(cell) for cell in cells]


def read_template(template: str | Path | None) -> RowTemplate | None:
    """A template from its text, or from the file at a Path. Raises TableSettingError."""
    if template is None:
        return None
    return RowTemplate.read(template) if isinstance(template, Path) else RowTemplate(template)


def read_schema(schema: Mapping[str, Any] | Path | None) -> Mapping[str, Any] | None:
    """A JSON schema, or the one in the file at a Path. Raises HeadraceError."""
    if not isinstance(schema, Path):
        return schema
    try:
        read = json.loads(schema.read_bytes())
    except (OSError, ValueError) as error:
        raise HeadraceError(f"the schema {schema} cannot be read: {error}") from error
    if not isinstance(read, dict):
        raise HeadraceError(f"the schema {schema} is not a JSON object")
    return read
