"""Answers that are kept."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.errors import StoreWriteError
from jobs.evals.cache import AnswerCache
from jobs.result_table import rows_to_table, table_to_rows
from schemas.result import ResultRow


def results(path: Path, *rows: tuple[str, str, int]) -> Path:
    made: list[Any] = [
        ResultRow(idx=n, custom_id=name, request_hash=digest, status_code=status, content=name)
        for n, (name, digest, status) in enumerate(rows)
    ]
    pq.write_table(rows_to_table(made), path)
    return path


def test_answers_are_found_again_under_other_ids(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "cache")
    path = results(tmp_path / "r", ("a", "h1", 200), ("b", "h2", 400), ("c", "h3", 200))
    assert cache.add([path]) == 2
    again = AnswerCache(tmp_path / "cache")
    found = again.find({"x": "h1", "y": "h1", "z": "h2", "w": "h9"}, tmp_path / "found")
    assert found == 2
    rows = table_to_rows(pq.read_table(tmp_path / "found"))
    assert {(row.custom_id, row.content, row.request_hash) for row in rows} == {
        ("x", "a", "h1"),
        ("y", "a", "h1"),
    }


def test_nothing_is_kept_twice(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "cache")
    path = results(tmp_path / "r", ("a", "h1", 200))
    assert cache.add([path]) == 1
    assert cache.add([path, results(tmp_path / "s", ("b", "h1", 200), ("c", "h2", 200))]) == 1
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_without_hits_no_file_is_written(tmp_path: Path) -> None:
    assert AnswerCache(tmp_path / "cache").find({"x": "h1"}, tmp_path / "found") == 0
    assert not (tmp_path / "found").exists()


def test_a_damaged_file_costs_its_answers_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = AnswerCache(tmp_path / "cache")
    cache.add([results(tmp_path / "r", ("a", "h1", 200))])
    (tmp_path / "cache" / "answers-0.parquet").write_bytes(b"PAR1?")
    assert cache.find({"x": "h1"}, tmp_path / "found") == 1
    assert "answers-0.parquet cannot be read" in caplog.text


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreWriteError, match="--cache"):
        AnswerCache(tmp_path / "file")
