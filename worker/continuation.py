"""How a run whose rows stay in Redis goes on after a signal, in commands to type.

Owns: these commands and their order. Must not know: when a run ends, Redis. What they say must be
true: a worker computes what is in the queue, and only `headrace enqueue` sends the rest.
"""

import shlex
from collections.abc import Sequence

from jobs.queue import BatchStatus
from worker.logging import redact_url
from worker.settings import RunSettings

__all__ = ["farewell", "unknown_farewell"]


def farewell(settings: RunSettings, batch_id: str, status: BatchStatus | None) -> str:
    """What becomes of the batch of an interrupted run; `status` is None if Redis has lost it."""
    if status is None:
        return (
            f"interrupted, and Redis has lost batch {batch_id}; start again with: "
            f"{settings.resume_command}"
        )
    if status.total is not None and not status.is_cut_short:
        return (
            f"interrupted, batch {batch_id} stays in Redis; continue with: "
            f"{_worker_command(settings)}"
        )
    return (
        f"interrupted, batch {batch_id} stays in Redis with the {status.num_enqueued} lines that "
        f"were sent; continue with: {_worker_command(settings)} and, beside it, send the others "
        f"with: {_enqueue_command(settings, batch_id)}"
    )


def unknown_farewell(settings: RunSettings, batch_id: str) -> str:
    """The same where Redis does not answer."""
    return (
        f"interrupted while Redis did not answer; if it still knows batch {batch_id}, continue "
        f"with: {_worker_command(settings)} and, beside it: {_enqueue_command(settings, batch_id)}"
    )


def _worker_command(settings: RunSettings) -> str:
    model = settings.process.model
    arguments = ["worker", *_place(settings), "--model", model.model]
    for name in model.served_model_name or ():
        arguments += ["--served-model-name", name]
    return _typed(arguments)


def _enqueue_command(settings: RunSettings, batch_id: str) -> str:
    """The same flags where they decide what a line becomes, or in which order they are sent."""
    batch = settings.batch
    arguments = ["enqueue", str(settings.file), "--batch-id", batch_id, "-o", "redis"]
    arguments += _place(settings)
    if batch.dedupe:
        arguments.append("--dedupe")
    if batch.job_deadline_seconds is not None:
        arguments += ["--job-deadline-seconds", f"{batch.job_deadline_seconds:g}"]
    if batch.on_unknown_parameter == "ignore":
        arguments += ["--on-unknown-parameter", "ignore"]
    return _typed(arguments)


def _place(settings: RunSettings) -> list[str]:
    process = settings.process
    assert process.queue.redis is not None, "rows stay in a server that somebody named"
    place = ["--redis", process.queue.redis, "--namespace", process.queue.namespace]
    return place if process.blobs is None else [*place, "--blobs", process.blobs]


def _typed(arguments: Sequence[str]) -> str:
    return shlex.join(["headrace", *map(redact_url, arguments)])
