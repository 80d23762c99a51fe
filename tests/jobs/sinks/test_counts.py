from jobs.result_table import rows_to_table
from jobs.sinks.counts import RowCounts
from schemas.result import ResultRow
from tests.jobs.builders import make_row


def test_every_row_is_counted_by_how_it_ended() -> None:
    counts = RowCounts()
    counts.add(rows_to_table([make_row(0, prompt_tokens=3, completion_tokens=5), make_row(1)]))
    counts.add(
        rows_to_table(
            [
                make_row(2, status_code=400, error_code="invalid_type", prompt_tokens=4),
                make_row(3, status_code=404, error_code=None),
                make_row(4, status_code=500, error_code="step_failed", cached_tokens=2),
                ResultRow(idx=5, error_code="batch_cancelled"),
                ResultRow(idx=6, error_code="batch_expired"),
                ResultRow(idx=7, error_code="batch_expired"),
            ]
        )
    )
    counts.add(rows_to_table([]))
    assert (counts.num_rows, counts.num_ok, counts.num_failed) == (8, 2, 3)
    assert (counts.num_cancelled, counts.num_expired) == (1, 2)
    assert counts.num_retryable == 4
    assert counts.error_codes == {
        "invalid_type": 1,
        "none": 1,
        "step_failed": 1,
        "batch_cancelled": 1,
        "batch_expired": 2,
    }
    tokens = (counts.prompt_tokens, counts.cached_tokens, counts.completion_tokens)
    assert tokens == (7, 2, 5)
    assert counts.reasoning_tokens == 0
