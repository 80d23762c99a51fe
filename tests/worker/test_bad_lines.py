from pathlib import Path

import pytest

from jobs.producers.jsonl import LineError
from schemas.errors import ApiError
from worker.bad_lines import refuse_bad_lines
from worker.errors import RunError


def _error(line: int | None, message: str) -> LineError:
    return LineError(line, ApiError(400, message))


def test_a_good_file_passes() -> None:
    refuse_bad_lines(Path("in.jsonl"), [])


def test_every_error_names_its_line_once() -> None:
    errors = [_error(28, "line 28: not JSON."), _error(46, "Wrong URL."), _error(None, "Empty.")]
    with pytest.raises(RunError) as caught:
        refuse_bad_lines(Path("in.jsonl"), errors)
    assert str(caught.value) == (
        "in.jsonl was refused and nothing ran: line 28: not JSON.; line 46: Wrong URL.; Empty."
    )


def test_a_long_list_is_cut() -> None:
    with pytest.raises(RunError, match=r"line 5: Bad\.; and 2 more$"):
        refuse_bad_lines(Path("in.jsonl"), [_error(n, "Bad.") for n in range(1, 8)])
