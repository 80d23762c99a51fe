import json
from pathlib import Path

import pyarrow.parquet as pq

from jobs.result_table import rows_to_table
from jobs.sinks.folder import FolderWriter
from schemas.result import ResultRow
from tests.jobs.builders import make_row


def write(folder: Path, rows: list[ResultRow]) -> list[str]:
    writer = FolderWriter(folder, "batch_a")
    writer.write(rows_to_table(rows))
    writer.close()
    assert {path.name for path in folder.iterdir()} == {path.name for path in writer.paths}
    return [path.name for path in writer.paths]


def ids(path: Path) -> list[str]:
    return [json.loads(line)["custom_id"] for line in path.read_text().splitlines()]


def test_good_rows_and_the_others_part_ways(tmp_path: Path) -> None:
    rows = [
        make_row(0),
        make_row(1, status_code=400),
        make_row(2),
        ResultRow(idx=3, custom_id="request-3", error_code="batch_cancelled"),
    ]
    assert write(tmp_path, rows) == ["output.jsonl", "errors.jsonl", "results.parquet"]
    assert ids(tmp_path / "output.jsonl") == ["request-0", "request-2"]
    assert ids(tmp_path / "errors.jsonl") == ["request-1", "request-3"]
    assert pq.read_table(tmp_path / "results.parquet")["idx"].to_pylist() == [0, 1, 2, 3]


def test_no_jsonl_file_is_created_empty(tmp_path: Path) -> None:
    for name, rows, files in (
        ("good", [make_row(0)], ["output.jsonl", "results.parquet"]),
        ("bad", [make_row(0, status_code=500)], ["errors.jsonl", "results.parquet"]),
        ("none", [], ["results.parquet"]),
    ):
        (tmp_path / name).mkdir()
        assert write(tmp_path / name, rows) == files
