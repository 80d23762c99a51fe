from pathlib import Path

import pyarrow as pa
import pytest

from jobs.errors import InputChangedError, StoreError
from jobs.result_table import rows_to_table
from jobs.tables.columns import OutputColumns
from jobs.tables.memory_source import MemorySource
from jobs.tables.writer import TableWriter
from tests.jobs.builders import make_row


class FakeFile:
    """Keeps the tables that it is given."""

    def __init__(self) -> None:
        self.paths = [Path("x")]
        self.tables: list[pa.Table] = []
        self.is_closed = self.is_abandoned = False

    def write(self, table: pa.Table) -> None:
        self.tables.append(table)

    def close(self) -> None:
        self.is_closed = True

    def abandon(self) -> None:
        self.is_abandoned = True


class ChangingSource(MemorySource):
    has_changed = False

    def check_unchanged(self) -> None:
        if self.has_changed:
            raise InputChangedError("changed")


def results(first: int, end: int) -> pa.Table:
    return rows_to_table([make_row(idx) for idx in range(first, end)])


def source_of(num_rows: int) -> ChangingSource:
    return ChangingSource(pa.table({"id": [n * 10 for n in range(num_rows)]}))


def test_results_stand_beside_their_rows_however_both_are_cut() -> None:
    source, file = source_of(2500), FakeFile()
    writer = TableWriter(source, OutputColumns(source.schema), file)
    for first, end in ((0, 700), (700, 701), (701, 2500)):
        writer.write(results(first, end))
    writer.close()
    assert file.is_closed
    whole = pa.concat_tables(file.tables)
    assert whole.column("id").to_pylist() == [n * 10 for n in range(2500)]
    assert whole.column("content").to_pylist() == [f"answer {n}" for n in range(2500)]


def test_nothing_is_read_if_nothing_is_kept() -> None:
    source, file = source_of(3), FakeFile()
    writer = TableWriter(source, OutputColumns(source.schema, kept=[]), file)
    writer.write(results(0, 3))
    assert file.tables[0].num_rows == 3


def test_a_missing_result_is_noticed() -> None:
    source = source_of(9)
    writer = TableWriter(source, OutputColumns(source.schema), FakeFile())
    writer.write(results(0, 3))
    with pytest.raises(StoreError, match="results of rows between 3 and 6 are missing"):
        writer.write(results(4, 7))


def test_a_result_too_many_is_noticed() -> None:
    source = source_of(3)
    writer = TableWriter(source, OutputColumns(source.schema), FakeFile())
    with pytest.raises(StoreError, match="more results than rows"):
        writer.write(results(0, 4))


def test_a_table_that_changed_before_or_meanwhile_is_not_put_beside_its_results() -> None:
    source, file = source_of(3), FakeFile()
    writer = TableWriter(source, OutputColumns(source.schema), file)
    source.has_changed = True
    with pytest.raises(InputChangedError):
        writer.close()
    assert not file.is_closed
    writer.abandon()
    assert file.is_abandoned
    with pytest.raises(InputChangedError):
        TableWriter(source, OutputColumns(source.schema), file)
