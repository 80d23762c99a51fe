from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.producers.jsonl import Item, JsonlProducer, ProducerSettings
from jobs.producers.lines import open_input
from jobs.queue import OutcomeCounts, ReconcileReply, ReconcileResult
from jobs.recovery import count_outcomes, put_back_missing
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


class Reconciling:
    """Remembers what it is told."""

    def __init__(self, result: ReconcileResult) -> None:
        self.result = result
        self.said: tuple[str, int, OutcomeCounts, list[int]] | None = None

    async def reconcile(
        self, batch_id: str, *, total: int, counts: OutcomeCounts, missing: Sequence[Item]
    ) -> ReconcileReply:
        self.said = (batch_id, total, counts, sorted(item.idx for item in missing))
        return ReconcileReply(result=self.result, count=len(missing))


@pytest.mark.parametrize(
    ("result", "is_put_right"),
    [
        (ReconcileResult.REQUEUED, True),
        (ReconcileResult.BUSY, False),
        (ReconcileResult.STATE, False),
    ],
)
async def test_the_lines_without_a_row_become_jobs_again(
    tmp_path: Path, result: ReconcileResult, is_put_right: bool
) -> None:
    path = write_lines(tmp_path / "x", [make_line(number) for number in range(12)])
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(idx) for idx in range(12) if idx not in (2, 7, 8)])
    producer = JsonlProducer(open_input(path), settings=ProducerSettings(chunk_items=4))
    queue = Reconciling(result)
    assert await put_back_missing(queue, "batch_a", producer, store) is is_put_right
    assert queue.said == ("batch_a", 12, OutcomeCounts(num_ok=9), [2, 7, 8])
