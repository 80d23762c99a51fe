from pathlib import Path

import pytest

from jobs.errors import StoreDamagedError
from jobs.parts import Part, decode_part, describe_part, encode_part, read_part
from jobs.result_table import ADDED_COLUMNS, RESULT_SCHEMA, rows_to_table, table_to_rows
from tests.jobs.builders import make_row

ROWS = [make_row(idx) for idx in (7, 3, 5)]


@pytest.fixture
def part(tmp_path: Path) -> Part:
    table = rows_to_table(ROWS)
    data = encode_part(table, "batch_a")
    (tmp_path / "part-1.parquet").write_bytes(data)
    return describe_part("part-1.parquet", table, data)


def test_rows_come_back_in_their_order(part: Part, tmp_path: Path) -> None:
    assert table_to_rows(read_part(tmp_path, part)) == ROWS
    assert read_part(tmp_path, part, ["idx"]).column_names == ["idx"]
    assert (part.num_rows, part.first_idx, part.last_idx) == (3, 3, 7)
    assert part.raw_bytes > 0


def test_a_part_that_no_manifest_names_carries_its_batch(part: Part, tmp_path: Path) -> None:
    table = decode_part(tmp_path / part.file, "batch_a")
    assert table is not None
    assert table_to_rows(table) == ROWS
    assert decode_part(tmp_path / part.file, "batch_b") is None


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "remove", "link"])
def test_every_harm_to_a_part_is_seen(part: Part, tmp_path: Path, harm: str) -> None:
    path = tmp_path / part.file
    data = path.read_bytes()
    if harm == "truncate":
        path.write_bytes(data[:-100])
    elif harm == "flip":
        middle = len(data) // 3
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "remove":
        path.unlink()
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreDamagedError) as caught:
        read_part(tmp_path, part)
    assert str(path) in str(caught.value)
    assert caught.value.path == path


def test_a_part_of_an_earlier_version_lacks_only_what_was_added(tmp_path: Path) -> None:
    table = rows_to_table(ROWS).drop_columns(list(ADDED_COLUMNS))
    data = encode_part(table, "batch_a")
    (tmp_path / "part-1.parquet").write_bytes(data)
    part = describe_part("part-1.parquet", table, data)
    assert table_to_rows(read_part(tmp_path, part)) == ROWS
    assert read_part(tmp_path, part, ["idx", *ADDED_COLUMNS]).column_names == [
        "idx",
        *ADDED_COLUMNS,
    ]
    adopted = decode_part(tmp_path / "part-1.parquet", "batch_a")
    assert adopted is not None
    assert adopted.schema.equals(RESULT_SCHEMA)


def test_a_foreign_parquet_file_is_no_part(tmp_path: Path) -> None:
    table = rows_to_table(ROWS).drop_columns(["worker"])
    (tmp_path / "x.parquet").write_bytes(encode_part(table, "batch_a"))
    with pytest.raises(StoreDamagedError, match="columns"):
        decode_part(tmp_path / "x.parquet", "batch_a")
