"""How the queue's data looks in Redis, and back.

Owns: the arguments of scripts and the decoding of their replies. Must not know: connections, when
scripts are run.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from redis.exceptions import RedisError

from jobs.errors import BadBatchError, QueueError
from jobs.keys import check_name
from jobs.online.names import ONLINE_PREFIX
from jobs.queue import (
    BatchSpec,
    BatchState,
    BatchStatus,
    Commit,
    FinishedRow,
    Lease,
    NewJob,
    OutboxEntry,
    Outcome,
    Priority,
    SweepReport,
)
from jobs.scripts import Argument
from schemas.result import ResultRow

__all__ = [
    "bits_of",
    "commit_arguments",
    "decode_lease",
    "decode_outbox_entry",
    "decode_status",
    "decode_sweep",
    "item_arguments",
    "lease_arguments",
    "spec_fields",
    "taken_arguments",
    "unpack_custom_id",
]

_PRIORITY_SHARES = {
    Priority.INTERACTIVE: 1,
    Priority.HIGH: 4,
    Priority.NORMAL: 1,
    Priority.LOW: 0.25,
}

_ERROR_TEXTS = {
    "max_deliveries_exceeded": "the job was started {attempt} times and its worker died or lost "
    "it each time; it is given up",
    "job_lost": "the queue lost the job before it had a result; run the batch again to compute it",
}


def spec_fields(spec: BatchSpec, *, is_online: bool = False) -> list[Argument]:
    """The batch hash of a new batch as field, value, ... Raises BadBatchError."""
    check_name("batch id", spec.batch_id)
    if spec.batch_id.startswith(ONLINE_PREFIX) and not is_online:
        raise BadBatchError(
            f"batch id {spec.batch_id[:200]!r} cannot be used: ids that start with "
            f"{ONLINE_PREFIX!r} are for requests of the endpoint"
        )
    check_name("tenant", spec.tenant)
    if spec.priority not in _PRIORITY_SHARES:
        known = ", ".join(Priority)
        raise BadBatchError(f"priority {spec.priority!r} is not one of {known}")
    if spec.weight < 1:
        raise BadBatchError(f"weight {spec.weight} of batch {spec.batch_id} is not at least 1")
    priority = Priority(spec.priority)
    fields: dict[str, Argument] = {
        "tenant": spec.tenant,
        "priority": priority.value,
        "class": "-interactive" if priority is Priority.INTERACTIVE else "",
        "share": spec.weight * _PRIORITY_SHARES[priority],
        "endpoint": spec.endpoint,
        "sink": spec.sink,
        "metadata": spec.metadata_json,
    }
    if spec.expires_at_ms is not None:
        fields["expires_at"] = spec.expires_at_ms
    return [part for field in fields.items() for part in field]


def item_arguments(items: Iterable[NewJob | FinishedRow]) -> list[Argument]:
    """Lines as ENQUEUE and RECONCILE take them; see scripts/_add.lua."""
    arguments: list[Argument] = []
    for item in items:
        arguments += (item.idx, _pack_custom_id(item.custom_id))
        if isinstance(item, FinishedRow):
            arguments += ("", item.outcome.value, 0, item.payload, "", "")
        else:
            ttl_ms = "" if item.ttl_ms is None else item.ttl_ms
            arguments += (item.model, item.url, item.cost_tokens, item.body)
            arguments += (ttl_ms, item.answer_hash or "")
    return arguments


def lease_arguments(lease: Lease) -> tuple[Argument, ...]:
    """What names a lease: batch, model, entry, fence."""
    return (lease.batch_id, lease.model, lease.entry_id, lease.fence)


def commit_arguments(commit: Commit) -> tuple[Argument, ...]:
    """A commit without its consumer."""
    lease = commit.lease
    return (
        *lease_arguments(lease),
        commit.outcome.value,
        commit.payload,
        *taken_arguments(lease),
    )


def taken_arguments(lease: Lease) -> tuple[Argument, ...]:
    """What a script needs to know of a job that TAKE gave out, so that it need not read it."""
    return (
        _pack_custom_id(lease.custom_id),
        lease.cost_tokens,
        len(lease.body),
        lease.answer_hash or "",
    )


def bits_of(indexes: Iterable[int]) -> bytes:
    """A bitmap in Redis' order: bit 0 is the highest of the first byte."""
    bits = bytearray()
    for index in indexes:
        byte = index >> 3
        if byte >= len(bits):
            bits.extend(bytes(byte + 1 - len(bits)))
        bits[byte] |= 0x80 >> (index & 7)
    return bytes(bits)


def decode_lease(reply: Sequence[Any]) -> Lease:
    """One lease of TAKE's reply."""
    batch_id, model, entry_id, fence, attempt, is_last, *job = reply
    custom_id, url, cost, body, at, progress, answer_hash = job
    return Lease(
        batch_id=batch_id.decode(),
        model=model.decode(),
        entry_id=entry_id.decode(),
        fence=int(fence),
        attempt=int(attempt),
        idx=_idx_of(entry_id),
        custom_id=unpack_custom_id(custom_id),
        url=url.decode(),
        cost_tokens=int(cost),
        body=body,
        enqueued_ms=int(at),
        progress=progress,
        is_last_attempt=bool(is_last),
        answer_hash=answer_hash.decode() or None,
    )


def decode_outbox_entry(entry_id: bytes, fields: Mapping[bytes, bytes]) -> OutboxEntry:
    """One recorded result. A row that a script made for an error gets its payload here."""
    history = fields.get(b"h")
    entry = OutboxEntry(
        entry_id=entry_id.decode(),
        idx=int(fields[b"i"]),
        custom_id=unpack_custom_id(fields[b"c"]),
        outcome=Outcome(fields[b"s"].decode()),
        worker=fields[b"w"].decode(),
        attempt=int(fields[b"a"]),
        payload=fields[b"r"],
        attempts_json=None if history is None else f"[{history.decode(errors='replace')}]",
        deduped_from=_optional_int(fields.get(b"d")),
    )
    code = fields.get(b"e")
    return entry if code is None else _with_error(entry, code.decode())


def decode_status(
    batch_id: str, fields: Mapping[bytes, bytes], *, num_outbox: int
) -> BatchStatus | None:
    """A batch hash; None if it is empty, because there is no such batch."""
    if b"state" not in fields:
        return None
    return BatchStatus(
        batch_id=batch_id,
        state=BatchState(fields[b"state"].decode()),
        total=_optional_int(fields.get(b"total")),
        num_enqueued=int(fields[b"enq"]),
        num_ok=int(fields[b"ok"]),
        num_err=int(fields[b"err"]),
        num_cancelled=int(fields[b"cancelled"]),
        num_expired=int(fields[b"expired"]),
        num_outbox=num_outbox,
        tenant=fields[b"tenant"].decode(),
        sink=fields[b"sink"].decode(),
        created_at_ms=int(fields[b"created_at"]),
        expires_at_ms=_optional_int(fields.get(b"expires_at")),
        metadata_json=fields[b"metadata"].decode(),
        is_cut_short=b"cut" in fields,
        final_at_ms=_optional_int(fields.get(b"final_at")),
    )


def decode_sweep(batch_id: str, reply: Sequence[Any] | RedisError) -> SweepReport:
    """SWEEP's reply, or the error that it ended with."""
    if isinstance(reply, RedisError):
        return SweepReport(
            batch_id=batch_id,
            state=None,
            num_rows_made=0,
            num_jobs_left=0,
            num_outbox=0,
            is_fanned_out=False,
            error=str(reply),
        )
    state, num_rows, num_jobs, num_outbox, is_fanned_out = reply
    return SweepReport(
        batch_id=batch_id,
        state=BatchState(state.decode()) if state else None,
        num_rows_made=int(num_rows),
        num_jobs_left=int(num_jobs),
        num_outbox=int(num_outbox),
        is_fanned_out=bool(is_fanned_out),
    )


def _with_error(entry: OutboxEntry, code: str) -> OutboxEntry:
    if code not in _ERROR_TEXTS:
        raise QueueError(f"row {entry.idx} has the unknown error code {code!r}")
    message = _ERROR_TEXTS[code].format(attempt=entry.attempt)
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    row = ResultRow(
        idx=entry.idx,
        custom_id=entry.custom_id,
        status_code=500,
        error_code=code,
        error_message=message,
        attempt=entry.attempt,
        worker=entry.worker or None,
        response_json=json.dumps({"error": error}, separators=(",", ":")),
    )
    return replace(entry, payload=row.encode())


def _pack_custom_id(custom_id: str | None) -> str:
    """A line without custom_id is not a line with an empty one."""
    return "" if custom_id is None else f"={custom_id}"


def unpack_custom_id(packed: bytes) -> str | None:
    """A custom_id as scripts hold it."""
    return packed[1:].decode() if packed else None


def _idx_of(entry_id: bytes) -> int:
    return int(entry_id.rpartition(b"-")[2])


def _optional_int(value: bytes | None) -> int | None:
    return None if value is None else int(value)
