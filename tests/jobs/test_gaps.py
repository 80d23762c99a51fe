from pathlib import Path
from typing import Any

from jobs.gaps import fill_gaps
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.store import PartStore
from tests.jobs.builders import make_row
from tests.jobs.endpoint import line, lines


def rows_of(store: PartStore) -> list[dict[str, Any]]:
    rows = [row for part in store.parts for row in store.read(part).to_pylist()]
    return sorted(rows, key=lambda row: int(row["idx"]))


def test_gaps_are_filled_from_the_input(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(lines(4) + line("bad", body={"temperature": 99}))
    producer = JsonlProducer(open_input(path))
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(1, custom_id="r1")])
    assert fill_gaps(store, producer, total=5, code="batch_expired") == 4
    assert fill_gaps(store, producer, total=5, code="batch_expired") == 0
    rows = rows_of(store)
    assert [row["custom_id"] for row in rows] == ["r0", "r1", "r2", "r3", "bad"]
    expired = ("batch_expired", None)
    codes = [(row["error_code"], row["status_code"]) for row in rows]
    assert codes[:4] == [expired, (None, 200), expired, expired]
    assert codes[4][1] == 400


def test_gaps_without_an_input(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(1)])
    assert fill_gaps(store, None, total=3, code=None) == 2
    rows = rows_of(store)
    assert [row["error_code"] for row in rows] == ["job_lost", None, "job_lost"]
    assert [row["custom_id"] for row in rows] == [None, "request-1", None]
    assert rows[0]["error_message"]
