import errno
import json
from pathlib import Path

import pytest

from jobs.errors import StoreWriteError
from jobs.result_table import rows_to_table
from jobs.sinks.jsonl import JsonlWriter
from schemas.result import ResultRow
from tests.jobs.builders import make_row

ROWS = [
    make_row(0, custom_id='quote " and \u2028', response_json='{"a": [1, 2]}'),
    make_row(1, custom_id=None, status_code=400, response_json='{"error": {"code": "x"}}'),
    ResultRow(idx=2, custom_id="c", error_code="batch_expired", error_message="too late"),
]


def write(path: Path, rows: list[ResultRow], batch_id: str = "batch_a") -> list[bytes]:
    writer = JsonlWriter(path, batch_id)
    writer.write(rows_to_table(rows))
    writer.close()
    assert writer.num_rows == len(rows)
    assert writer.paths == [path]
    return path.read_bytes().splitlines(keepends=True)


def test_rows_become_output_lines(tmp_path: Path) -> None:
    lines = write(tmp_path / "x.jsonl", ROWS)
    assert all(line.endswith(b"\n") for line in lines)
    good, refused, unanswered = map(json.loads, lines)
    assert [set(line) for line in (good, refused, unanswered)] == [
        {"id", "custom_id", "response", "error"}
    ] * 3
    assert good["custom_id"] == 'quote " and \u2028'
    assert good["response"]["body"] == {"a": [1, 2]}
    assert refused["custom_id"] is None
    assert (refused["response"]["status_code"], refused["error"]) == (400, None)
    assert unanswered["response"] is None
    assert unanswered["error"] == {"code": "batch_expired", "message": "too late"}


def test_ids_are_unique_and_the_same_on_each_writing(tmp_path: Path) -> None:
    rows = [make_row(idx) for idx in range(1500)]
    lines = write(tmp_path / "x.jsonl", rows)
    assert len({json.loads(line)["id"] for line in lines}) == 1500
    assert len({json.loads(line)["response"]["request_id"] for line in lines}) == 1500
    assert write(tmp_path / "y.jsonl", rows) == lines
    assert write(tmp_path / "z.jsonl", rows, "batch_b")[0] != lines[0]


def test_no_rows_make_no_file_unless_one_is_asked_for(tmp_path: Path) -> None:
    for is_created_empty in (False, True):
        path = tmp_path / f"{is_created_empty}.jsonl"
        writer = JsonlWriter(path, "batch_a", is_created_empty=is_created_empty)
        writer.write(rows_to_table([]))
        writer.close()
        assert path.exists() is is_created_empty
        assert writer.paths == [path] * is_created_empty


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JsonlWriter(tmp_path / "x.jsonl", "batch_a")

    class FullFile:
        def write(self, _: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "_file", FullFile())
    with pytest.raises(StoreWriteError, match=r"x\.jsonl: the disk is full"):
        writer.write(rows_to_table(ROWS))
    with pytest.raises(StoreWriteError, match="does not exist"):
        JsonlWriter(tmp_path / "missing" / "x.jsonl", "b").write(rows_to_table(ROWS))
