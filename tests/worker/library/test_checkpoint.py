from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.errors import StoreWriteError
from jobs.queue import NewJob
from schemas.result import ResultRow
from worker.library import checkpoint
from worker.library.checkpoint import Checkpoint


def row(name: str | None, *, status: int = 200, digest: str | None = "h") -> ResultRow:
    return ResultRow(idx=0, custom_id=name, status_code=status, request_hash=digest, content="x")


def wanted(*names: str) -> list[tuple[NewJob, str]]:
    return [
        (
            NewJob(idx=idx, custom_id=name, model="m", url="", cost_tokens=1, body=b"{}"),
            "h",
        )
        for idx, name in enumerate(names)
    ]


def found(kept: Checkpoint, *names: str) -> list[str | None]:
    kept.refresh()
    rows = kept.find(wanted(*names))
    assert all(row.idx == idx for idx, row in rows.items())
    return [row.custom_id for _, row in sorted(rows.items())]


def test_rows_are_found_by_whoever_shares_the_folder(tmp_path: Path) -> None:
    ours, theirs = Checkpoint(tmp_path / "new", "me"), Checkpoint(tmp_path / "new", "me")
    ours.add(row("a"))
    ours.add(row("failed", status=500))
    ours.add(row("refused", status=400))
    ours.add(row(None))
    ours.add(row("unknown", digest=None))
    assert found(theirs, "a") == [], "nothing is written yet"
    ours.flush()
    ours.flush()
    assert found(theirs, "b", "a", "failed", "refused", "unknown") == ["a", "refused"]
    assert len(list((tmp_path / "new").glob("rows-*.parquet"))) == 1
    theirs.add(row("b"))
    theirs.flush()
    assert found(ours, "a", "b") == ["a", "b"]


def test_many_files_are_one_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "_MAX_INDEXES", 3)
    ours, theirs = Checkpoint(tmp_path, "me"), Checkpoint(tmp_path, "me")
    for number in range(8):
        ours.add(row(f"row {number}"))
        ours.flush()
        assert found(theirs, *(f"row {n}" for n in range(9))) == [
            f"row {n}" for n in range(number + 1)
        ]
    assert len(theirs._indexes) <= 3


def test_a_flush_is_due_after_a_while_or_many_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoint(tmp_path, "me")
    assert not kept.is_due
    monkeypatch.setattr(checkpoint, "_MAX_ROWS_WAITING", 2)
    kept.add(row("a"))
    kept.add(row("b"))
    assert kept.is_due
    kept.flush()
    assert not kept.is_due
    monkeypatch.setattr(checkpoint, "_SHORTEST_WAIT_S", 0.0)
    monkeypatch.setattr(checkpoint, "_WAIT_SHARE", 0.0)
    assert kept.is_due
    (file,) = tmp_path.glob("*")
    assert pq.read_table(file).num_rows == 2


def test_a_folder_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "x", "me")
    (tmp_path / "x").rmdir()
    kept.add(row("a"))
    with pytest.raises(StoreWriteError, match="cannot write"):
        kept.flush()


def test_rows_that_could_not_be_written_are_in_the_next_flush(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "x", "me")
    (tmp_path / "x").rmdir()
    kept.add(row("a"))
    with pytest.raises(StoreWriteError):
        kept.flush()
    (tmp_path / "x").mkdir()
    kept.add(row("b"))
    kept.flush()
    assert found(kept, "a", "b") == ["a", "b"]
