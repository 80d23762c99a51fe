import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.errors import InputError
from jobs.tables.opening import open_table
from jobs.tables.text_source import TextSource
from schemas.errors import ApiError


def opened(path: Path) -> TextSource:
    source = open_table(str(path))
    assert isinstance(source, TextSource)
    return source


def rows_of(source: TextSource, *columns: str) -> list[Any]:
    return [row for piece in source.rows(columns) for row in piece]


def cells_of(source: TextSource) -> list[Any]:
    return [row for batch in source.batches(source.schema.names) for row in batch.to_pylist()]


def test_csv_is_typed_by_all_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,text,zip\n" + "".join(f"{n},t{n},{n:05}\n" for n in range(2500)) + "x,,\n")
    source = opened(path)
    assert source.num_rows == 2501
    assert source.schema == pa.schema([(name, pa.string()) for name in ("id", "text", "zip")])
    assert rows_of(source, "id", "text")[2499:] == [
        {"id": "2499", "text": "t2499"},
        {"id": "x", "text": None},
    ]
    assert cells_of(source)[7] == {"id": "7", "text": "t7", "zip": "00007"}


def test_templates_see_csv_cells_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,b\n1,true\n2,false\n")
    assert rows_of(opened(tmp_path / "a.csv"), "n", "b") == [
        {"n": 1, "b": True},
        {"n": 2, "b": False},
    ]


def test_rows_that_are_none_are_errors_and_rows_of_nulls(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,t\n1,a\n2\n3,b\n")
    source = opened(tmp_path / "a.csv")
    first, second, third = rows_of(source, "t")
    assert (first, third) == ({"t": "a"}, {"t": "b"})
    assert isinstance(second, ApiError)
    assert source.schema.field("n").type == pa.int64()
    assert cells_of(source) == [{"n": 1, "t": "a"}, {"n": None, "t": None}, {"n": 3, "t": "b"}]


def test_jsonl_cells_are_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"t": "a"}\n{"t": 5, "u": [1]}\nno\n')
    source = opened(tmp_path / "a.jsonl")
    first, second, third = rows_of(source, "t", "u")
    assert (first, second) == ({"t": "a", "u": None}, {"t": 5, "u": [1]})
    assert isinstance(third, ApiError)
    assert cells_of(source) == [
        {"t": "a", "u": None},
        {"t": "5", "u": [1]},
        {"t": None, "u": None},
    ]


def test_folders_and_compressed_files(tmp_path: Path) -> None:
    for part in (1, 2):
        (tmp_path / f"p={part}").mkdir()
        with gzip.open(tmp_path / f"p={part}/a.csv.gz", "wt") as file:
            file.write(f"n\n{part}0\n")
    source = opened(tmp_path)
    assert cells_of(source) == [{"n": 10, "p": 1}, {"n": 20, "p": 2}]
    assert rows_of(source, "p", "n") == [{"p": 1, "n": 10}, {"p": 2, "n": 20}]
    assert [row["p"] for row in rows_of(source, "p")] == [1, 2]


def test_tabs_separate_the_cells_of_tsv(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tb\n1,5\t2\n")
    assert cells_of(opened(tmp_path / "a.tsv")) == [{"a": "1,5", "b": 2}]


def test_large_rows_come_in_small_pieces(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t\n" + "".join("x" * 1_000_000 + "\n" for _ in range(12)))
    source = opened(tmp_path / "a.csv")
    sizes = [len(piece) for piece in source.rows(["t"])]
    assert sum(sizes) == 12
    assert max(sizes) <= 6


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv.gz", b"no gzip", r"a\.csv\.gz cannot be read"),
        ("a.csv", b'a\n"x', r"a\.csv is no CSV"),
        ("a.json", b"[\n", r"a\.json is a JSON array"),
        ("a.json", b'[{"a": 1}]\n', r"a\.json holds no table: Line 1 .* it is an array"),
        ("a.json", b'{\n"a": 1\n}\n', r"a\.json holds no table: Line 1 .* not JSON"),
        ("a.jsonl", b"\x1f\x8b\x08", r"a\.jsonl is gzip data; decompress it"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), r"a\.csv is UTF-16 text; convert it"),
        ("a.csv", b"PAR1", r"a\.csv is a Parquet file"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    tmp_path: Path, name: str, data: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=reason):
        opened(tmp_path / name)


def test_in_a_folder_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "b.csv").write_text('a\n"x')
    with pytest.raises(InputError, match=r"b\.csv in .* is no CSV"):
        opened(tmp_path)


def test_a_header_without_rows_has_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n")
    source = opened(tmp_path / "a.csv")
    assert (source.num_rows, source.schema.names) == (0, ["a", "b"])
    assert source.schema.types == [pa.string(), pa.string()]


def test_a_header_with_broken_rows_alone_has_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1\n")
    source = opened(tmp_path / "a.csv")
    assert (source.num_rows, source.schema.names) == (1, ["a", "b"])


def test_an_empty_file_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    source = opened(tmp_path / "a.csv")
    assert (source.num_rows, source.schema.names) == (0, [])
