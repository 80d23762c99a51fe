"""The row of an answered job, whatever was asked.

Owns: the columns that follow from the job and from how its requests ran. Must not know: what the
answer looks like (the callers bring it, and the columns that describe it).
"""

from collections.abc import Sequence
from time import monotonic
from typing import Any

import xxhash

from engine.request import Request
from schemas.chat_response import Usage
from schemas.result import ResultRow
from worker.job import HeldJob, PreparedCompletion, PreparedJob

__all__ = ["answer_id", "answered_row"]


def answered_row(
    job: HeldJob,
    prepared: PreparedJob | PreparedCompletion,
    usage: Usage,
    *,
    worker: str,
    fingerprint: str,
    **columns: Any,
) -> ResultRow:
    """A 200 row. `columns` are those of the answer itself: model, content, response_json..."""
    return ResultRow(
        idx=job.lease.idx,
        custom_id=job.lease.custom_id,
        status_code=200,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.prompt_tokens_details.cached_tokens,
        completion_tokens=usage.completion_tokens,
        reasoning_tokens=usage.completion_tokens_details.reasoning_tokens,
        attempt=job.lease.attempt,
        worker=worker,
        fingerprint=fingerprint,
        queue_s=job.queue_s,
        ttft_s=_first_token_s(job, prepared.requests),
        e2e_s=monotonic() - job.leased_s,
        request_hash=prepared.request_hash,
        **columns,
    )


def answer_id(prefix: str, job: HeldJob) -> str:
    """The id of the job's answer: the same for a retry."""
    name = f"completion:{job.lease.batch_id}:{job.lease.idx}".encode()
    return f"{prefix}-{xxhash.xxh3_128_hexdigest(name)}"


def _first_token_s(job: HeldJob, requests: Sequence[Request]) -> float | None:
    times = [request.first_token_s for request in requests if request.first_token_s is not None]
    return max(0.0, min(times) - job.leased_s) if times else None
