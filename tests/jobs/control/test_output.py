import json
from pathlib import Path

from jobs.control.output import fill_gaps, write_output
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.store import PartStore
from tests.jobs.builders import make_row
from tests.jobs.endpoint import line, lines


def test_rows_are_parted_and_in_input_order(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(idx) for idx in (4, 0)])
    store.append([make_row(3, status_code=400, error_code="x"), make_row(2), make_row(1)])
    files = write_output(store, tmp_path / "final")
    assert files.output is not None
    assert files.error is not None
    names = [json.loads(row)["custom_id"] for row in files.output.read_bytes().splitlines()]
    assert names == ["request-0", "request-1", "request-2", "request-4"]
    assert (files.counts.num_ok, files.counts.num_failed) == (4, 1)
    again = write_output(store, tmp_path / "other")
    assert again.output is not None
    assert again.output.read_bytes() == files.output.read_bytes()


def test_no_file_without_rows(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path / "parts", "batch_a")
    files = write_output(store, tmp_path / "final")
    assert (files.output, files.error, files.counts.num_rows) == (None, None, 0)


def test_gaps_are_filled_from_the_input(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines(4) + line("bad", body={"temperature": 99}))
    producer = JsonlProducer(open_input(path))
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(1, custom_id="r1")])
    assert fill_gaps(store, producer, total=5, code="batch_expired") == 4
    assert fill_gaps(store, producer, total=5, code="batch_expired") == 0
    files = write_output(store, tmp_path / "final")
    assert files.error is not None
    rows = [json.loads(row) for row in files.error.read_bytes().splitlines()]
    assert [row["custom_id"] for row in rows] == ["r0", "r2", "r3", "bad"]
    assert [row["error"] and row["error"]["code"] for row in rows] == [*["batch_expired"] * 3, None]


def test_gaps_without_an_input(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(1)])
    assert fill_gaps(store, None, total=3, code=None) == 2
    files = write_output(store, tmp_path / "final")
    assert files.counts.error_codes == {"job_lost": 2}
