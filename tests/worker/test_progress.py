import io
from pathlib import Path

import pytest

from worker import progress
from worker.progress import Snapshot, Summary, open_display, print_summary


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_say_rows_failures_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    stream = io.StringIO()
    display = open_display(stream)
    display.phase("running")
    display.update(Snapshot(num_done=0, total=100, num_tokens=0))
    now[0] += 6
    display.update(Snapshot(num_done=25, num_failed=2, total=100, num_tokens=600))
    display.close()
    assert stream.getvalue().splitlines() == [
        "headrace: running",
        "headrace: 25/100 rows, 2 failed, 100 tok/s, ETA 18 s",
    ]


def test_the_time_left_does_not_count_rows_of_an_earlier_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    stream = io.StringIO()
    display = open_display(stream)
    now[0] += 20  # the model is loaded
    display.update(Snapshot(num_done=900, total=1000))
    now[0] += 6
    display.update(Snapshot(num_done=920, total=1000))
    assert [line.rpartition(", ")[2] for line in stream.getvalue().splitlines()] == [
        "0 tok/s",
        "ETA 24 s",
    ]


def test_lines_are_not_printed_at_every_update() -> None:
    stream = io.StringIO()
    display = open_display(stream)
    for num_done in range(1000):
        display.update(Snapshot(num_done=num_done, total=1000))
    display.close()
    assert stream.getvalue() == ""


def test_a_total_that_is_not_known_yet_is_shown_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])
    stream = io.StringIO()
    display = open_display(stream)
    now[0] = 10.0
    display.update(Snapshot(num_done=5))
    assert "5/? rows" in stream.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    display = open_display(stream)
    display.phase("running")
    display.update(Snapshot(num_done=25, num_failed=2, total=100, num_tokens=600))
    display.close()
    text = stream.getvalue()
    assert "25/100" in text
    assert "2 failed" in text
    assert "tok/s" in text


def test_the_summary_names_rows_tokens_time_and_files() -> None:
    stream = io.StringIO()
    summary = Summary(
        num_ok=1234,
        num_failed=5,
        num_reused=7,
        prompt_tokens=100_000,
        cached_tokens=60_000,
        completion_tokens=9_000,
        num_generated_tokens=8_000,
        computing_s=4.0,
        wall_s=5.0,
        files=(Path("/a b/[x]/output.jsonl"),),
    )
    print_summary(summary, stream)
    text = stream.getvalue()
    for shown in ("1,234", "100,000", "60,000", "9,000", "2,000.0", "5.00", "[x]/output.jsonl"):
        assert shown in text
