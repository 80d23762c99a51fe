"""Submitting a request, hanging up, reading its row.

Owns: the queue calls of waiting clients. Must not know: HTTP, pub/sub. A row that was read is
deleted; one that nobody reads goes after ten minutes (scripts/_batch.lua).
"""

import secrets
from dataclasses import dataclass
from typing import Literal

from jobs.errors import QueueError
from jobs.online.names import online_batch_id
from jobs.outbox_rows import entry_to_row
from jobs.queue import BatchSpec, OutboxEntry, Priority
from jobs.queue_client import QueueClient
from jobs.wire import decode_outbox_entry, spec_fields
from schemas.result import ResultRow

__all__ = ["NewRequest", "OnlineJobs", "Refusal", "TenantLimits", "Ticket", "Waiting", "new_ticket"]

_REMEMBER_MS = 60_000
_IDX_BITS = 48
_MAX_LOOK = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantLimits:
    """What one tenant may have waiting or running for its clients at once; 0: any number."""

    max_requests: int = 0
    max_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """A checked request. `body` is its JSON; after `ttl_ms` nobody wants the answer any more."""

    request_id: str
    model: str
    url: str
    cost_tokens: int
    body: bytes
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Ticket:
    """Names a request for as long as somebody waits for it. `idx` cannot be guessed and is never
    used again, so no message can be taken for another request's.
    """

    batch_id: str
    tenant: str
    idx: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request in the queue. `since` is the outbox id before which its row cannot be."""

    ticket: Ticket
    model: str
    entry_id: str
    since: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The tenant has reached a limit: it has `num_waiting` of `what` already."""

    what: Literal["requests", "tokens"]
    num_waiting: int


def new_ticket(tenant: str) -> Ticket:
    """A ticket for a request that is about to be submitted."""
    return Ticket(online_batch_id(tenant), tenant, secrets.randbits(_IDX_BITS))


class OnlineJobs(QueueClient):
    """The requests of waiting clients in one namespace."""

    async def submit(
        self, ticket: Ticket, request: NewRequest, limits: TenantLimits
    ) -> Waiting | Refusal:
        """Put a request in front of all batches. Listen to its channel before: the first message
        may come at once.
        """
        spec = BatchSpec(
            batch_id=ticket.batch_id,
            tenant=ticket.tenant,
            priority=Priority.INTERACTIVE,
            sink="redis",
        )
        seconds, _ = await self._calls.command(lambda redis: redis.time())
        kind, detail = await self._calls.script(
            "submit",
            ticket.batch_id,
            secrets.token_hex(8),
            ticket.idx,
            f"={request.request_id}",
            request.model,
            request.url,
            request.cost_tokens,
            request.body,
            request.ttl_ms,
            limits.max_requests,
            limits.max_tokens,
            _REMEMBER_MS,
            *spec_fields(spec, is_online=True),
        )
        if kind == b"OK":
            return Waiting(ticket, request.model, detail.decode(), f"{seconds}000-0")
        if kind == b"STATE":
            raise QueueError(f"batch {ticket.batch_id} was ended by hand and takes no requests")
        return Refusal("requests" if kind == b"JOBS" else "tokens", int(detail))

    async def hang_up(self, waiting: Waiting) -> bool:
        """Nobody waits any more: the job ends soon. False if it is over."""
        ticket = waiting.ticket
        return bool(
            await self._calls.script(
                "hang_up", ticket.batch_id, waiting.model, waiting.entry_id, ticket.idx
            )
        )

    async def read(self, waiting: Waiting, entry_id: str) -> ResultRow | None:
        """The row under an entry id, which is deleted; None if it is gone."""
        key = self._keys.outbox(waiting.ticket.batch_id)
        found = await self._calls.command(lambda redis: redis.xrange(key, entry_id, entry_id))
        if not found:
            return None
        await self._calls.command(lambda redis: redis.xdel(key, entry_id))
        return entry_to_row(decode_outbox_entry(*found[0]))

    async def look(self, waiting: Waiting) -> ResultRow | Literal["waiting", "lost"]:
        """Where a request stands, for whom no message has come in a while: its row, or whether it
        still has a job.
        """
        ticket = waiting.ticket
        outbox = self._keys.outbox(ticket.batch_id)
        stream = self._keys.stream(ticket.batch_id, waiting.model)
        job, rows = await self._calls.pipeline(
            [
                ("XRANGE", stream, waiting.entry_id, waiting.entry_id),
                ("XRANGE", outbox, waiting.since, "+", "COUNT", _MAX_LOOK),
            ]
        )
        entry = next((entry for entry in map(_entry, rows) if entry.idx == ticket.idx), None)
        if entry is None:
            return "waiting" if job else "lost"
        await self._calls.command(lambda redis: redis.xdel(outbox, entry.entry_id))
        return entry_to_row(entry)

    async def num_waiting(self, tenant: str) -> int:
        """Requests of a tenant that wait or run."""
        name = self._keys.batch(online_batch_id(tenant))
        fields = await self._calls.command(lambda redis: redis.hgetall(name))
        return sum(int(n) for field, n in fields.items() if field.startswith(b"jobs:"))


def _entry(reply: tuple[bytes, dict[bytes, bytes]]) -> OutboxEntry:
    return decode_outbox_entry(*reply)
