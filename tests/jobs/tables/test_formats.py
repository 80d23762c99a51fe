import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from jobs.errors import StoreWriteError, TableSettingError
from jobs.tables.formats import check_writable, table_writer

ROWS: list[dict[str, Any]] = [
    {
        "text": 'a,"b"\nc',
        "n": 1,
        "items": [1, 2],
        "object": {"k": "é"},
        "raw": b"\xff\x00",
        "day": datetime.date(2026, 11, 22),
        "at": datetime.datetime(2026, 11, 22, 1, 2, 3, tzinfo=datetime.UTC),
        "price": decimal.Decimal("1.50"),
        "nan": float("nan"),
        "map": [("k", 1)],
    },
    {"text": ""},
]
SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("n", pa.int64()),
        ("items", pa.list_(pa.int64())),
        ("object", pa.struct([("k", pa.string())])),
        ("raw", pa.binary()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us", "UTC")),
        ("price", pa.decimal128(5, 2)),
        ("nan", pa.float64()),
        ("map", pa.map_(pa.string(), pa.int64())),
    ]
)


def write(folder: Path, name: str, *tables: pa.Table, **options: Any) -> Path:
    schema = tables[0].schema.with_metadata({"headrace.run": "{}"})
    check_writable(schema, name)
    writer = table_writer(folder, name, schema, batch_id="b", **options)
    for table in tables:
        writer.write(table)
    writer.close()
    assert [path.name for path in writer.paths] == [name]
    return folder / name


def test_arrow_and_parquet_keep_types_and_metadata(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS, SCHEMA)
    for name, read in (
        ("a.parquet", pq.read_table),
        ("a.arrow", feather.read_table),
        ("a.feather", feather.read_table),
    ):
        back = read(write(tmp_path, name, table, table))
        assert back.num_rows == 4
        assert back.schema.remove_metadata() == SCHEMA
        assert back.schema.metadata[b"headrace.run"] == b"{}"
        assert back.drop(["nan"]).slice(2).to_pylist() == table.drop(["nan"]).to_pylist()


def test_parquet_is_compressed_in_even_row_groups(tmp_path: Path) -> None:
    piece = pa.table({"n": range(2048)})
    file = pq.ParquetFile(write(tmp_path, "a.parquet", *[piece] * 20))
    groups = [file.metadata.row_group(n) for n in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [16_384, 16_384, 8_192]
    assert {group.column(0).compression for group in groups} == {"ZSTD"}


def test_csv_holds_json_where_it_has_no_types(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", pa.Table.from_pylist(ROWS, SCHEMA))
    options = pacsv.ParseOptions(newlines_in_values=True)
    kept = pacsv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)
    first, second = pacsv.read_csv(path, parse_options=options, convert_options=kept).to_pylist()
    assert first["text"] == 'a,"b"\nc'
    assert first["items"] == "[1,2]"
    assert first["object"] == '{"k":"é"}'
    assert first["raw"] == '"_wA="'
    assert first["price"] == 1.5
    assert first["day"] == datetime.date(2026, 11, 22)
    assert json.loads(first["map"]) == [["k", 1]]
    assert second["text"] == ""
    assert second["items"] is second["n"] is None


def test_jsonl_has_one_object_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", pa.Table.from_pylist(ROWS, SCHEMA))
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "text": 'a,"b"\nc',
        "n": 1,
        "items": [1, 2],
        "object": {"k": "é"},
        "raw": "_wA=",
        "day": "2026-11-22",
        "at": "2026-11-22T01:02:03Z",
        "price": "1.50",
        "nan": None,
        "map": [["k", 1]],
    }
    assert second == {**dict.fromkeys(first), "text": ""}


def test_times_finer_than_microseconds_are_written_whole_as_jsonl(tmp_path: Path) -> None:
    at = 1_700_000_000_123_456_789
    columns = {
        "fine": pa.array([at, None], pa.timestamp("ns")),
        "zoned": pa.array([at, None], pa.timestamp("ns", "Europe/Paris")),
        "coarse": pa.array([1_700_000_000_000_000_000, None], pa.timestamp("ns")),
        "clock": pa.array([3_723_000_000_001, None], pa.time64("ns")),
        "long": pa.array([1_500_000_001, None], pa.duration("ns")),
    }
    path = write(tmp_path, "a.jsonl", pa.table(columns))
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "fine": "2023-11-14T22:13:20.123456789",
        "zoned": "2023-11-14T22:13:20.123456789Z",
        "coarse": "2023-11-14T22:13:20",
        "clock": "01:02:03.000000001",
        "long": "PT1.5S",
    }
    assert second == dict.fromkeys(first)


def test_a_value_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    schema = pa.schema([("day", pa.date32())])
    writer = table_writer(tmp_path, "a.jsonl", schema, batch_id="b")
    with pytest.raises(StoreWriteError, match=r"cannot write .*a\.jsonl: .*--columns"):
        writer.write(pa.table({"day": pa.array([4_000_000], pa.int32()).cast(pa.date32())}))
    writer.abandon()


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.csv", "a.jsonl"])
def test_a_table_without_rows_is_a_file(tmp_path: Path, name: str) -> None:
    writer = table_writer(tmp_path, name, SCHEMA, batch_id="b")
    writer.close()
    assert (tmp_path / name).exists()
    if name == "a.csv":
        assert (tmp_path / name).read_text().startswith('"text","n"')


def test_large_parquet_files_are_split_if_asked(tmp_path: Path) -> None:
    writer = table_writer(tmp_path, "a.parquet", SCHEMA, batch_id="b", is_split=True)
    assert writer._file_bytes == 128 << 20  # type: ignore[union-attr]
    whole = table_writer(tmp_path, "b.parquet", SCHEMA, batch_id="b")
    assert whole._file_bytes is None  # type: ignore[union-attr]


def test_columns_that_a_format_cannot_hold_are_named() -> None:
    schema = pa.schema([("ok", pa.string()), ("odd", pa.month_day_nano_interval())])
    with pytest.raises(TableSettingError, match=r"parquet files cannot hold the columns 'odd'"):
        check_writable(schema, "x.parquet")
    check_writable(schema, "x.arrow")


def test_columns_that_could_be_written_but_not_read_are_named() -> None:
    deep = pa.int64()
    for _ in range(60):
        deep = pa.list_(deep)
    with pytest.raises(TableSettingError, match=r"parquet files cannot hold the columns 'deep'"):
        check_writable(pa.schema([("deep", deep)]), "x.parquet")


def test_types_that_few_have_are_no_trouble() -> None:
    union = pa.schema([("either", pa.dense_union([pa.field("a", pa.int64())]))])
    with pytest.raises(TableSettingError, match=r"parquet files cannot hold the columns 'either'"):
        check_writable(union, "x.parquet")
    tensor = pa.fixed_shape_tensor(pa.float32(), [2, 2], permutation=[1, 0])
    check_writable(pa.schema([("image", tensor)]), "x.parquet")


def conform_to(table: pa.Table) -> pa.Table:
    missing = [pa.nulls(table.num_rows, kind) for kind in SCHEMA.types[1:]]
    return pa.Table.from_arrays([table.column("text"), *missing], schema=SCHEMA)


@pytest.mark.parametrize("name", ["a.arrow", "a.csv", "a.jsonl"])
def test_a_disk_that_fails_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreWriteError, match=f"cannot create .*{name}"):
        table_writer(tmp_path / "missing", name, SCHEMA, batch_id="b")
    (tmp_path / name).symlink_to("/dev/full")
    writer = table_writer(tmp_path, name, SCHEMA, batch_id="b")
    table = pa.table({"text": [str(n) * 20 for n in range(20_000)]})
    with pytest.raises(StoreWriteError, match="the disk is full"):
        writer.write(conform_to(table))
    writer.abandon()
