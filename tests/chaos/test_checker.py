"""The count itself: each kind of harm must show up as its own number."""

from pathlib import Path

import pytest
from fakeredis import FakeRedis, FakeServer

from jobs.keys import Keys
from jobs.store import PartStore
from schemas.result import ResultRow
from tests.chaos.broken import CarelessStore
from tests.chaos.checker import Findings, check_files, check_queue, rows_of
from tests.chaos.lines import Expected, Workload, write_input

BATCH = "batch_chaos"


def right(idx: int, **cells: object) -> ResultRow:
    cells = {"custom_id": f"row-{idx}", "status_code": 200, "content": f"text {idx}"} | cells
    return ResultRow(idx=idx, response_json="{}", **cells)


EXPECTED = [Expected(custom_id=f"row-{idx}", text=f"text {idx}") for idx in range(6)]


def count(folder: Path, *rows: ResultRow, may_end_early: bool = False) -> Findings:
    parts = folder / "out" / ".headrace" / BATCH
    CarelessStore.open(parts, BATCH).append(rows)
    return check_files(rows_of(parts), EXPECTED, parts, folder / "out", may_end_early=may_end_early)


def test_what_is_right_counts_nothing(tmp_path: Path) -> None:
    findings = count(tmp_path, *map(right, (3, 1, 0, 2, 5, 4)))
    assert findings.is_clean, findings.notes
    assert findings.num_rows == 6


def test_a_missing_row_is_lost(tmp_path: Path) -> None:
    findings = count(tmp_path, *map(right, (0, 1, 2, 4, 5)))
    assert (findings.lost, findings.is_clean) == (1, False)


def test_a_line_that_the_queue_gave_up_as_lost_is_lost(tmp_path: Path) -> None:
    lost = right(5, status_code=500, error_code="job_lost", content=None)
    assert count(tmp_path, *map(right, range(5)), lost).lost == 1


def test_two_rows_for_one_line_are_a_duplicate(tmp_path: Path) -> None:
    assert count(tmp_path, *map(right, (0, 1, 2, 3, 4, 5, 3))).duplicated == 1


@pytest.mark.parametrize(
    "cells",
    [
        {"content": "text 4"},
        {"custom_id": "row-4"},
        {"status_code": 500, "error_code": "internal_error"},
        {"status_code": None, "error_code": "batch_cancelled"},
        {"status_code": 500, "error_code": "max_deliveries_exceeded"},
    ],
)
def test_a_row_that_says_something_else_is_wrong(tmp_path: Path, cells: dict[str, object]) -> None:
    assert count(tmp_path, *map(right, range(5)), right(5, **cells)).wrong_rows == 1


def test_rows_may_end_early_only_where_the_batch_does(tmp_path: Path) -> None:
    cut = right(5, status_code=None, content=None, error_code="batch_cancelled")
    findings = count(tmp_path, *map(right, range(5)), cut, may_end_early=True)
    assert findings.is_clean, findings.notes
    assert findings.num_early == 1


def test_final_files_out_of_order_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jobs.sinks.final as final

    def as_stored(store: PartStore, _scratch: Path) -> object:
        return (store.read(part) for part in store.parts)

    monkeypatch.setattr(final, "rows_in_order", as_stored)
    assert count(tmp_path, *map(right, (0, 2, 1, 3, 4, 5))).wrong_order == 2


def test_counters_that_drifted_are_counted() -> None:
    client, keys = FakeRedis(server=FakeServer(version=(7,))), Keys("chaos")
    rows = [right(idx) for idx in range(6)]
    fields = {"state": "completed", "total": 6, "enq": 6, "ok": 6, "err": 0, "cancelled": 0}
    fields |= {"expired": 0, "tenant": "t", "sink": "client", "created_at": 1, "metadata": ""}
    client.hset(keys.batch(BATCH), mapping=fields)
    for idx in range(6):
        client.setbit(keys.bitmap(BATCH), idx, 1)
    client.hset(keys.stat, "fenced", 3)

    def drift() -> int:
        findings = Findings()
        counted = check_queue(findings, client, keys, BATCH, rows, state="completed")
        assert counted == {"fenced": 3}
        return findings.wrong_counters

    assert drift() == 0
    client.hset(keys.batch(BATCH), "ok", 7)
    assert drift() == 1
    client.setbit(keys.bitmap(BATCH), 3, 0)
    client.hset(keys.backlog, "jobs:m", 1)
    client.xadd(keys.outbox(BATCH), {"i": 1})
    assert drift() == 4
    client.delete(keys.batch(BATCH))
    assert drift() == 2


def test_the_lines_say_what_is_right_for_them(tmp_path: Path) -> None:
    workload = Workload(num_lines=50, num_bad=3, num_poison=2, min_tokens=8, max_tokens=9)
    expected = write_input(tmp_path / "in.jsonl", workload, seed="1")
    assert len(expected) == 50
    assert sum(each.status_code == 400 for each in expected) == 3
    assert sum(each.is_poison for each in expected) == 2
    assert expected == write_input(tmp_path / "again.jsonl", workload, seed="1")
    texts = {each.text for each in expected}
    assert len(texts) == 50, "answers must tell lines apart"
