"""Batches as their owners see them: status, results, cancel.

Owns: what these commands print. Must not know: flags, engines, input files. They load neither
torch nor the request models, and Arrow only to write rows to files (fetch.py).
"""

import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from time import monotonic

from jobs.errors import UnknownBatchError
from jobs.queue import BatchState, BatchStatus
from jobs.sinks.target import Target, TargetKind, parse_target
from worker.connection import Connection, needed_url, open_connection
from worker.errors import EXIT_OK, RunError
from worker.interruptible import interruptible
from worker.options import QueueOptions
from worker.settings import ResultsSettings

__all__ = ["cancel_batch", "fetch_results", "known_status", "show_status"]

_GIVE_UP_S = 60.0


def fetch_results(settings: ResultsSettings) -> int:
    """Write a batch's rows to files once it is finished; returns the exit code of a run.

    Raises SettingsError, RunError, InterruptedRun, JobsError.
    """
    needed_url(settings.queue)
    target = parse_target(settings.output)
    if target.kind is TargetKind.REDIS:
        raise RunError("the rows are in Redis already; -o names a file or a folder")
    return asyncio.run(_fetch(settings, target))


async def _fetch(settings: ResultsSettings, target: Target) -> int:
    from worker.fetch import wait_for_batch

    async with open_connection(settings.queue, give_up_s=_GIVE_UP_S) as connection:
        status = await known_status(connection, settings.batch_id)
        if status.sink not in ("client", "redis"):
            raise RunError(f"batch {settings.batch_id} writes its results to {status.sink}")
        return await interruptible(
            wait_for_batch(connection, settings.batch_id, target, monotonic()),
            f"interrupted, nothing is lost; continue with: {settings.resume_command}",
        )


def show_status(batch_id: str, options: QueueOptions, *, as_json: bool) -> int:
    """Print where a batch stands. Raises UnknownBatchError and what connecting raises."""
    needed_url(options)

    async def ask() -> BatchStatus:
        async with open_connection(options, give_up_s=_GIVE_UP_S) as connection:
            return await known_status(connection, batch_id)

    status = asyncio.run(ask())
    sys.stdout.write(_as_json(status) if as_json else _as_text(status))
    return EXIT_OK


def cancel_batch(batch_id: str, options: QueueOptions) -> int:
    """Cancel a batch and print its state.

    Raises UnknownBatchError, and RunError if the batch was over before.
    """
    needed_url(options)

    async def ask() -> BatchState:
        async with open_connection(options, give_up_s=_GIVE_UP_S) as connection:
            before = await known_status(connection, batch_id)
            if before.state in (BatchState.COMPLETED, BatchState.FAILED, BatchState.EXPIRED):
                raise RunError(f"batch {batch_id} is {before.state} and cannot be cancelled")
            return await connection.queue.cancel(batch_id) or before.state

    sys.stdout.write(f"{asyncio.run(ask())}\n")
    return EXIT_OK


async def known_status(connection: Connection, batch_id: str) -> BatchStatus:
    """Where a batch stands. Raises UnknownBatchError."""
    status = await connection.queue.status(batch_id)
    if status is None:
        raise UnknownBatchError(f"there is no batch {batch_id}")
    return status


def _as_json(status: BatchStatus) -> str:
    facts = asdict(status) | {"state": status.state.value, "num_finished": status.num_finished}
    facts["metadata"] = json.loads(facts.pop("metadata_json") or "{}")
    return json.dumps(facts, indent=2) + "\n"


def _as_text(status: BatchStatus) -> str:
    total = "?" if status.total is None else f"{status.total:,}"
    rows = [
        ("batch", status.batch_id),
        ("state", status.state.value),
        ("rows", f"{status.num_finished:,} of {total}"),
        ("ok", f"{status.num_ok:,}"),
        ("failed", f"{status.num_err:,}"),
        ("cancelled", f"{status.num_cancelled:,}"),
        ("expired", f"{status.num_expired:,}"),
        ("not fetched", f"{status.num_outbox:,}"),
        ("results go to", status.sink),
        ("created", _moment(status.created_at_ms)),
        ("expires", _moment(status.expires_at_ms)),
    ]
    return "".join(f"{name:<14} {value}\n" for name, value in rows)


def _moment(unix_ms: int | None) -> str:
    if unix_ms is None:
        return "never"
    return datetime.fromtimestamp(unix_ms / 1000, UTC).isoformat(timespec="seconds")
