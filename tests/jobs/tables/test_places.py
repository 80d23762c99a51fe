import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.errors import InputChangedError, InputError
from jobs.tables.places import TableFormat, find_table, is_table_name, local_path
from jobs.tables.unchanged import check_unchanged


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.parquet", TableFormat.PARQUET),
        ("a.PQ", TableFormat.PARQUET),
        ("a.arrow", TableFormat.ARROW),
        ("a.feather", TableFormat.ARROW),
        ("a.csv", TableFormat.CSV),
        ("a.tsv.gz", TableFormat.CSV),
        ("a.jsonl", TableFormat.JSONL),
        ("a.json.zst", TableFormat.JSONL),
    ],
)
def test_the_name_says_the_format(tmp_path: Path, name: str, expected: TableFormat) -> None:
    place = find_table(str(write(tmp_path / name)))
    assert place.format is expected
    assert [(file.name, file.num_bytes) for file in place.files] == [(name, 1)]


def test_a_name_that_says_nothing_is_looked_into(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "data")
    assert find_table(str(tmp_path / "data")).format is TableFormat.PARQUET
    for name in ("other", "a.xlsx", "a.parquet.gz"):
        with pytest.raises(InputError, match=f"{name} has no format that is known"):
            find_table(str(write(tmp_path / name)))


def test_a_folder_is_all_its_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b/1.csv", "a/2.csv", "c.csv", "_SUCCESS", ".crc/x", "run.json", "_tmp/3.csv"):
        write(tmp_path / name)
    place = find_table(str(tmp_path))
    assert [file.name for file in place.files] == ["a/2.csv", "b/1.csv", "c.csv"]
    assert place.partitions.names == []


def test_names_of_folders_are_columns(tmp_path: Path) -> None:
    write(tmp_path / "year=2023/lang=a%20b/x.csv")
    write(tmp_path / "year=__HIVE_DEFAULT_PARTITION__/lang=c/x.csv")
    place = find_table(str(tmp_path))
    assert place.partitions == pa.schema([("year", pa.int32()), ("lang", pa.string())])
    assert [dict(file.partition) for file in place.files] == [
        {"year": 2023, "lang": "a b"},
        {"year": None, "lang": "c"},
    ]


def test_a_folder_above_the_input_is_no_column(tmp_path: Path) -> None:
    write(tmp_path / "year=2023/x.csv")
    assert find_table(str(tmp_path / "year=2023")).partitions.names == []
    assert find_table(str(tmp_path / "year=2023/x.csv")).partitions.names == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("missing.csv", "does not exist"),
        ("empty", "holds no files of a table"),
        ("mixed", r"several formats: a\.csv and b\.parquet"),
        ("foreign", r"b\.xlsx in .*foreign has no format"),
        ("delta", "is a Delta table, whose files also hold rows that were deleted"),
        ("nosuch://bucket/x", "cannot be read"),
        ("pipe", "neither a file nor a folder"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "mixed/a.csv")
    write(tmp_path / "mixed/b.parquet")
    write(tmp_path / "foreign/b.xlsx")
    write(tmp_path / "delta/a.parquet")
    write(tmp_path / "delta/_delta_log/00000000000000000000.json")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=reason):
        find_table(name)


def test_urls_lead_to_the_same_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a b.csv")
    assert find_table(path.as_uri()).digest == find_table(str(path)).digest
    assert local_path(path.as_uri()) == path
    assert local_path("s3://bucket/x?region=eu-west-1") is None
    assert local_path("nosuch://x") is None


def test_another_size_time_or_name_is_another_state(tmp_path: Path) -> None:
    path = write(tmp_path / "data/a.csv")
    place = find_table(str(tmp_path / "data"))
    check_unchanged(place)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputChangedError, match="changed while it was read"):
        check_unchanged(place)
    place = find_table(str(tmp_path / "data"))
    path.rename(tmp_path / "data/b.csv")
    with pytest.raises(InputChangedError):
        check_unchanged(place)
    (tmp_path / "data/b.csv").unlink()
    with pytest.raises(InputError, match="holds no files"):
        check_unchanged(place)


def test_names_that_can_only_be_tables(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.csv.gz", "s3://bucket/x", str(tmp_path)):
        assert is_table_name(name)
    for name in ("a.jsonl", "a.json", "a.txt", "a.jsonl.gz", "batch"):
        assert not is_table_name(name)
