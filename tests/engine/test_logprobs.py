import numpy as np
import pytest

from engine.logprobs import LogprobRecord, LogprobRows


def rows(first: int, stop: int, num_top: int = 2) -> LogprobRows:
    """Rows whose numbers tell their token."""
    tokens = np.arange(first, stop)
    return LogprobRows(
        first,
        -tokens.astype(np.float32),
        tokens + 1,
        np.repeat(tokens[:, None], num_top, axis=1),
        np.repeat(-tokens[:, None].astype(np.float32), num_top, axis=1),
    )


def test_a_record_joins_what_steps_bring() -> None:
    record = LogprobRecord(first_token=3, num_top=2)
    assert record.next_token == 3
    for part in (rows(3, 5), rows(5, 5), rows(5, 9)):
        record.extend(part)
    assert record.next_token == 9
    whole = record.rows()
    assert whole.first_token == 3
    assert whole.logprobs.tolist() == [-3, -4, -5, -6, -7, -8]
    assert whole.top_token_ids[:, 1].tolist() == [3, 4, 5, 6, 7, 8]
    record.extend(rows(9, 10))
    assert len(record.rows()) == 7


def test_what_is_recorded_stays_when_it_is_told_again() -> None:
    record = LogprobRecord(first_token=1, num_top=2)
    record.extend(rows(1, 6))
    again = rows(0, 8)
    again.logprobs[:] = 99
    record.extend(again)
    assert record.rows().logprobs.tolist() == [-1, -2, -3, -4, -5, 99, 99]
    record.extend(rows(2, 4))
    assert record.next_token == 8


def test_a_gap_is_a_bug() -> None:
    record = LogprobRecord(first_token=1, num_top=2)
    with pytest.raises(AssertionError):
        record.extend(rows(2, 4))


def test_an_empty_record_has_rows_of_the_right_shape() -> None:
    empty = LogprobRecord(first_token=4, num_top=3).rows()
    assert (len(empty), empty.top_token_ids.shape, empty.top_logprobs.shape) == (0, (0, 3), (0, 3))


def test_parts_are_found_by_token() -> None:
    part = rows(4, 10).part(6, 8)
    assert (part.first_token, part.logprobs.tolist()) == (6, [-6, -7])
    assert len(rows(4, 10).part(12, 15)) == 0
    assert rows(4, 10).part(0, 5).logprobs.tolist() == [-4]


def test_the_first_token_of_a_prompt_has_none() -> None:
    with pytest.raises(ValueError, match="first token"):
        LogprobRecord(first_token=0, num_top=1)
