import errno
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jobs.sinks.parquet
from jobs.errors import StoreWriteError
from jobs.result_table import RESULT_SCHEMA, rows_to_table, table_to_rows
from jobs.sinks.parquet import ParquetWriter
from tests.jobs.builders import make_row


def table_of(first: int, end: int, content: str = "x") -> pa.Table:
    return rows_to_table([make_row(idx, content=content) for idx in range(first, end)])


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 25), max_size=12))
def test_row_groups_are_even_whatever_the_tables(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.sinks.parquet, "_GROUP_ROWS", 10)
        writer = ParquetWriter(folder, "results", batch_id="batch_a")
        first = 0
        for size in sizes:
            writer.write(table_of(first, first + size))
            first += size
        writer.close()
    assert writer.paths == [folder / "results.parquet"]
    file = pq.ParquetFile(writer.paths[0])
    groups = [file.metadata.row_group(k).num_rows for k in range(file.num_row_groups)]
    assert groups == [10] * (first // 10) + ([first % 10] if first % 10 else [])
    assert table_to_rows(file.read()) == [make_row(idx, content="x") for idx in range(first)]


def test_columns_of_types_that_few_have_are_written(tmp_path: Path) -> None:
    """Arrow makes no empty array of a tensor whose axes are permuted, as NumPy's are."""
    kind = pa.fixed_shape_tensor(pa.int8(), [1, 2], permutation=[0, 1])
    image = pa.ExtensionArray.from_storage(kind, pa.array([[1, 2]], pa.list_(pa.int8(), 2)))
    table = pa.table({"image": image})
    writer = ParquetWriter(tmp_path, "a", batch_id="b", schema=table.schema)
    writer.write(table)
    writer.close()
    assert pq.read_table(writer.paths[0]).equals(table)


def test_the_file_is_zstd_in_the_promised_columns(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path, "results", batch_id="batch_a")
    writer.write(table_of(0, 3))
    writer.close()
    file = pq.ParquetFile(tmp_path / "results.parquet")
    assert file.schema_arrow.remove_metadata().equals(RESULT_SCHEMA)
    assert file.schema_arrow.metadata[b"headrace.batch_id"] == b"batch_a"
    columns = file.metadata.row_group(0)
    assert {columns.column(k).compression for k in range(columns.num_columns)} == {"ZSTD"}


def test_no_rows_make_a_file_with_columns_and_no_rows(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path, "results", batch_id="batch_a")
    writer.close()
    assert pq.read_table(tmp_path / "results.parquet").num_rows == 0
    assert writer.paths == [tmp_path / "results.parquet"]


def test_row_groups_of_long_rows_are_bounded_in_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs.sinks.parquet, "_GROUP_BYTES", 100_000)
    writer = ParquetWriter(tmp_path, "results", batch_id="batch_a")
    writer.write(table_of(0, 50, "y" * 10_000))
    writer.write(table_of(50, 60, "z"))
    writer.write(table_of(60, 61, "w" * 300_000))
    writer.close()
    file = pq.ParquetFile(tmp_path / "results.parquet")
    assert file.metadata.num_rows == 61
    sizes = [file.read_row_group(k).nbytes for k in range(file.num_row_groups)]
    assert all(size <= 100_000 for size in sizes[:-1])


def test_a_large_result_is_split_into_numbered_files(tmp_path: Path) -> None:
    noise = random.Random(1)
    writer = ParquetWriter(tmp_path, "results", batch_id="batch_a", file_bytes=30_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.sinks.parquet, "_GROUP_ROWS", 10)
        for first in range(0, 100, 10):
            writer.write(table_of(first, first + 10, noise.randbytes(1000).hex()))
        writer.close()
    assert len(writer.paths) > 1
    names = [path.name for path in writer.paths]
    assert names == [f"results-{k:05d}.parquet" for k in range(len(names))]
    read = pa.concat_tables(pq.read_table(path) for path in writer.paths)
    assert read["idx"].to_pylist() == list(range(100))
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_one_file_stays_one_file_if_it_must(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path, "x", batch_id="batch_a", file_bytes=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.sinks.parquet, "_GROUP_ROWS", 5)
        writer.write(table_of(0, 50))
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_failing_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = ParquetWriter(tmp_path, "results", batch_id="batch_a")
    writer.write(table_of(0, 3))
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(StoreWriteError, match="the disk is full"):
        writer.close()
    with pytest.raises(StoreWriteError, match="does not exist"):
        ParquetWriter(tmp_path / "missing", "results", batch_id="batch_a").close()
