from pathlib import Path

from jobs.producers.jsonl import JsonlProducer, ProducerSettings
from jobs.producers.lines import open_input
from jobs.queue import OutcomeCounts
from jobs.recovery import count_outcomes, missing_items
from jobs.store import PartStore
from schemas.result import ResultRow
from tests.jobs.builders import make_line, make_row, write_lines


def test_outcomes_are_counted_from_the_files(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path, "batch_a")
    store.append([make_row(0), make_row(1, status_code=500), make_row(2, status_code=400)])
    store.append([make_row(3), ResultRow(idx=4, error_code="batch_cancelled")])
    store.append([ResultRow(idx=5, error_code="batch_expired")])
    assert count_outcomes(store) == OutcomeCounts(
        num_ok=2, num_err=2, num_cancelled=1, num_expired=1
    )


def test_the_lines_without_a_row_are_found_again(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "x", [make_line(number) for number in range(12)])
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(idx) for idx in range(12) if idx not in (2, 7, 8)])
    producer = JsonlProducer(open_input(path), settings=ProducerSettings(chunk_items=4))
    missing = [item.idx for chunk in missing_items(producer, store.done) for item in chunk]
    assert sorted(missing) == [2, 7, 8]
