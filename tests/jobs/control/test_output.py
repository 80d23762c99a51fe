import json
from pathlib import Path

from jobs.control.output import write_output
from jobs.store import PartStore
from tests.jobs.builders import make_row


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
