from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import InputError
from jobs.tables.arrow_source import ArrowSource
from jobs.tables.places import find_table


def opened(path: Path) -> ArrowSource:
    return ArrowSource(find_table(str(path)))


def cells(source: ArrowSource, *columns: str) -> list[dict[str, Any]]:
    wanted = list(columns) or source.schema.names
    return [row for batch in source.batches(wanted) for row in batch.to_pylist()]


def write_ipc(table: pa.Table, path: Path, *, is_stream: bool, batch_rows: int = 100) -> Path:
    new = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=batch_rows)
    return path


def write_parquet(table: pa.Table, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("kind", ["parquet", "file", "stream"])
def test_rows_come_in_their_order_a_few_at_a_time(tmp_path: Path, kind: str) -> None:
    table = pa.table({"a": range(5000), "b": [str(n) for n in range(5000)], "a.b": [1] * 5000})
    if kind == "parquet":
        path = write_parquet(table, tmp_path / "x.parquet", row_group_size=5000)
    else:
        path = write_ipc(table, tmp_path / "x.arrow", is_stream=kind == "stream", batch_rows=3000)
    source = opened(path)
    assert (source.num_rows, source.schema.names) == (5000, ["a", "b", "a.b"])
    batches = list(source.batches(["a.b", "b"]))
    assert max(batch.num_rows for batch in batches) <= 2048
    assert batches[0].schema.names == ["a.b", "b"]
    assert [row["b"] for batch in batches for row in batch.to_pylist()] == table["b"].to_pylist()
    rows = [row for piece in source.rows(["a"]) for row in piece]
    assert rows == [{"a": n} for n in range(5000)]
    assert len([row for piece in source.rows([]) for row in piece]) == 5000


def test_files_with_other_columns_are_one_table(tmp_path: Path) -> None:
    write_parquet(pa.table({"a": [1], "b": ["x"]}), tmp_path / "p=1/a.parquet")
    write_parquet(pa.table({"a": [2.5], "c": [True]}), tmp_path / "p=2/b.parquet")
    source = opened(tmp_path)
    assert source.schema == pa.schema(
        [("a", pa.float64()), ("b", pa.string()), ("c", pa.bool_()), ("p", pa.int32())]
    )
    assert cells(source) == [
        {"a": 1.0, "b": "x", "c": None, "p": 1},
        {"a": 2.5, "b": None, "c": True, "p": 2},
    ]
    assert cells(source, "p") == [{"p": 1}, {"p": 2}]
    assert cells(source, "c", "p") == [{"c": None, "p": 1}, {"c": True, "p": 2}]


def test_a_file_without_any_of_the_columns_still_has_its_rows(tmp_path: Path) -> None:
    write_ipc(pa.table({"a": [1, 2]}), tmp_path / "a.arrow", is_stream=False)
    write_ipc(pa.table({"b": [3]}), tmp_path / "b.arrow", is_stream=True)
    assert cells(opened(tmp_path), "b") == [{"b": None}, {"b": None}, {"b": 3}]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_encodings_are_no_types(tmp_path: Path, suffix: str) -> None:
    words = pa.array(["x", None, "x"])
    columns = {"d": words.dictionary_encode(), "v": words.cast(pa.string_view())}
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        write_parquet(pa.table(columns), path)
    else:
        columns["r"] = pa.RunEndEncodedArray.from_arrays([1, 2, 3], words)
        write_ipc(pa.table(columns), path, is_stream=False)
    source = opened(path)
    assert set(source.schema.types) == {pa.string()}
    assert cells(source) == [dict.fromkeys(columns, word) for word in ("x", None, "x")]


def test_old_timestamps_hold_every_year(tmp_path: Path) -> None:
    """Spark and Hive write them as INT96, and 9999-12-31 for what has no end."""
    ends = [datetime(9999, 12, 31), datetime(2024, 1, 1, 0, 0, 0, 1)]
    table = pa.table({"end": pa.array(ends, pa.timestamp("us"))})
    path = write_parquet(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    assert [row["end"] for row in cells(opened(path))] == ends


def test_metadata_of_the_file_stays_behind(tmp_path: Path) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata({"pandas": "{}"})
    assert opened(write_parquet(table, tmp_path / "a.parquet")).schema.metadata is None


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
@pytest.mark.parametrize("data", [b"", b"PAR1", b"ARROW1\0\0 no more", b"x" * 100])
def test_files_that_are_broken_are_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name} cannot be read: ."):
        opened(tmp_path / name)


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    table = pa.table({"a": [str(n) * 10 for n in range(10_000)]})
    path = write_parquet(table, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4:40] = b"\xff" * 36  # the header of the first page
    path.write_bytes(data)
    source = opened(path)
    with pytest.raises(InputError, match=r"a\.parquet cannot be read: ."):
        list(source.batches(["a"]))


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (pa.table({"a": [1]}), pa.table({"a": ["x"]}), "do not have the same columns"),
        (pa.table({"a": [1]}), pa.table([[1], [2]], names=["a", "a"]), r"b\.parquet in .*two"),
    ],
)
def test_columns_that_cannot_be_brought_together_are_refused(
    tmp_path: Path, first: pa.Table, second: pa.Table, reason: str
) -> None:
    write_parquet(first, tmp_path / "a.parquet")
    write_parquet(second, tmp_path / "b.parquet")
    with pytest.raises(InputError, match=reason):
        opened(tmp_path)


def test_a_table_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no columns"):
        opened(write_ipc(pa.table({}), tmp_path / "a.arrow", is_stream=False))
