from jobs.producers.windows import (
    Candidate,
    ProducerReport,
    ProducerSettings,
    ordered_chunks,
)
from jobs.queue import FinishedRow, NewJob, Outcome

SETTINGS = ProducerSettings(chunk_items=3, chunk_bytes=100)


def job(idx: int, prompt: bytes, size: int = 1) -> Candidate:
    return Candidate(
        prompt,
        NewJob(
            idx=idx,
            custom_id=f"c{idx}",
            model="m",
            url="/v1/chat/completions",
            cost_tokens=1,
            body=b"x" * size,
        ),
    )


def refused(idx: int, prompt: bytes) -> Candidate:
    row = FinishedRow(idx=idx, custom_id=None, outcome=Outcome.ERR, payload=b"row")
    return Candidate(prompt, row)


def order(*windows: list[Candidate]) -> list[list[int]]:
    chunks = ordered_chunks(windows, known=None, settings=SETTINGS, report=ProducerReport())
    return [[item.idx for item in chunk] for chunk in chunks]


def test_prompts_are_sorted_inside_a_window_and_equal_ones_keep_their_order() -> None:
    first = [job(0, b"b"), job(1, b"a"), refused(2, b"b")]
    second = [job(3, b"a"), job(4, b"a")]
    assert order(first, second) == [[1, 0, 2], [3, 4]]


def test_a_chunk_ends_at_its_items_or_its_bytes() -> None:
    assert order([job(n, b"") for n in range(4)]) == [[0, 1, 2], [3]]
    assert order([job(0, b"", 60), job(1, b"", 60), job(2, b"", 60)]) == [[0, 1], [2]]


def test_what_was_given_is_counted() -> None:
    report = ProducerReport()
    windows = [[job(0, b""), refused(1, b"")]]
    list(ordered_chunks(windows, known=None, settings=SETTINGS, report=report))
    assert (report.num_jobs, report.num_bad, report.num_reused) == (1, 1, 0)
