from worker.options import BatchOptions
from worker.producing import producer_settings


def test_flags_reach_the_lines() -> None:
    plain = producer_settings(BatchOptions()).lines
    assert (plain.job_ttl_ms, plain.shares_answers) == (None, False)
    lines = producer_settings(BatchOptions(job_deadline_seconds=1.5, dedupe=True)).lines
    assert (lines.job_ttl_ms, lines.shares_answers) == (1500, True)
    tiny = producer_settings(BatchOptions(job_deadline_seconds=0.0001)).lines
    assert tiny.job_ttl_ms == 1, "at least a millisecond: 0 would mean none"
