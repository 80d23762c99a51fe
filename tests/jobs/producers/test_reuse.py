import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.producers.reuse import ReuseIndex
from jobs.queue import NewJob, Outcome
from jobs.result_table import rows_to_table
from schemas.result import ResultRow
from tests.jobs.builders import make_row


def job(idx: int, custom_id: str) -> NewJob:
    return NewJob(idx=idx, custom_id=custom_id, model="m", url="/", cost_tokens=1, body=b"{}")


def write(path: Path, rows: list[ResultRow], row_group_size: int = 3) -> Path:
    pq.write_table(rows_to_table(rows), path, row_group_size=row_group_size)
    return path


def test_known_rows_are_found_and_renumbered(tmp_path: Path) -> None:
    files = [write(tmp_path / "a", [make_row(idx, deduped_from=1) for idx in range(10)])]
    index = ReuseIndex(files, "engine")
    assert len(index) == 10
    found = index.find([(job(100 + idx, f"request-{idx}"), f"{idx:032x}") for idx in (7, 0, 3)])
    assert sorted(found) == [100, 103, 107]
    for idx in (0, 3, 7):
        row = ResultRow.decode(found[100 + idx].payload)
        assert row == make_row(idx).model_copy(update={"idx": 100 + idx})
        assert found[100 + idx].outcome is Outcome.OK
        assert found[100 + idx].custom_id == f"request-{idx}"


def test_both_custom_id_and_hash_must_agree(tmp_path: Path) -> None:
    index = ReuseIndex([write(tmp_path / "a", [make_row(1), make_row(2)])], "engine")
    assert (
        index.find([(job(0, "request-1"), f"{2:032x}"), (job(1, "request-2"), f"{1:032x}")]) == {}
    )
    assert index.find([]) == {}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.OK),
        (400, Outcome.ERR),
        (404, Outcome.ERR),
        (500, None),
        (503, None),
        (None, None),
    ],
)
def test_good_answers_and_the_requests_own_faults_are_kept(
    tmp_path: Path, status: int | None, outcome: Outcome | None
) -> None:
    index = ReuseIndex([write(tmp_path / "a", [make_row(0, status_code=status)])], "engine")
    found = index.find([(job(5, "request-0"), f"{0:032x}")])
    assert (found[5].outcome if found else None) is outcome


def test_the_first_file_counts(tmp_path: Path) -> None:
    newer = write(tmp_path / "newer", [make_row(0, content="new")])
    older = write(tmp_path / "older", [make_row(9, content="x"), make_row(0, content="old")])
    index = ReuseIndex([newer, older], "engine")
    found = index.find([(job(1, "request-0"), f"{0:032x}")])
    assert ResultRow.decode(found[1].payload).content == "new"


def test_rows_without_a_hash_or_custom_id_are_never_reused(tmp_path: Path) -> None:
    rows = [make_row(0, request_hash=None), make_row(1, custom_id=None)]
    assert len(ReuseIndex([write(tmp_path / "a", rows)], "engine")) == 0


def test_files_that_cannot_be_read_are_left_out_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = write(tmp_path / "good", [make_row(0)])
    (tmp_path / "torn").write_bytes(good.read_bytes()[:-30])
    pq.write_table(rows_to_table([make_row(1)]).drop_columns(["request_hash"]), tmp_path / "old")
    files = [tmp_path / "torn", tmp_path / "missing", tmp_path / "old", good]
    with caplog.at_level(logging.WARNING):
        index = ReuseIndex(files, "engine")
    assert len(index) == 1
    said = [record.getMessage() for record in caplog.records]
    assert ["torn" in text for text in said] == [True, False]  # "old" is no file of results
    assert "missing" in said[1]
    good.unlink()
    assert index.find([(job(1, "request-0"), f"{0:032x}")]) == {}


def test_memory_holds_a_few_row_groups_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.producers.reuse._CACHE_BYTES", 10_000)
    rows = [make_row(idx, content="x" * 1000) for idx in range(60)]
    index = ReuseIndex([write(tmp_path / "a", rows)], "engine")
    wanted = [(job(idx, f"request-{idx}"), f"{idx:032x}") for idx in range(60)]
    assert len(index.find(wanted)) == 60
    assert sum(table.nbytes for table in index._cache.values()) <= 10_000
    assert len(index.find(wanted)) == 60
