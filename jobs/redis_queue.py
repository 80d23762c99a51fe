"""The queue: one result for every line, whatever dies.

Owns: the calls of the protocol and the meaning of their replies. Must not know: files, engines,
who calls. State lives in Redis alone and changes only inside scripts (scripts/*.lua); nothing here
is remembered between calls, so any number of these objects may work on one namespace.

A job is delivered at least once. Its result is recorded once: COMMIT checks that the caller still
owns the lease, writes the row to the outbox, marks the line and removes the job, in one step.
"""

import random
import secrets
from collections.abc import Collection, Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.bodies import Bodies
from jobs.errors import UnknownBatchError
from jobs.keys import Keys, check_name
from jobs.queue import (
    Backlog,
    BatchSpec,
    BatchState,
    BatchStatus,
    Commit,
    CommitReply,
    EnqueueReply,
    Failure,
    FinishedRow,
    Lease,
    LeaseLoss,
    LostLease,
    NewJob,
    OutboxEntry,
    OutcomeCounts,
    ReconcileReply,
    ReconcileResult,
    Release,
)
from jobs.queue_client import QueueClient
from jobs.queue_settings import QueueSettings
from jobs.retrying import Retrying
from jobs.scripts import Argument
from jobs.wire import (
    bits_of,
    commit_arguments,
    decode_lease,
    decode_outbox_entry,
    decode_status,
    item_arguments,
    lease_arguments,
    spec_fields,
    taken_arguments,
)

__all__ = ["Commit", "RedisQueue", "Release"]

_BATCHES_PER_ROUND_TRIP = 100


class RedisQueue(QueueClient):
    """The queue of one namespace on one server."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        settings: QueueSettings,
        *,
        retrying: Retrying | None = None,
        bodies: Bodies | None = None,
    ) -> None:
        super().__init__(redis, keys, settings, retrying=retrying)
        self._bodies = bodies
        self._num_takes = 0

    # Producers

    async def create_batch(self, spec: BatchSpec) -> bool:
        """Announce a batch; False if its id exists already (it is left as it is).

        Raises BadBatchError for an id, tenant, priority or weight that cannot be used.
        """
        fields = spec_fields(spec)
        return bool(
            await self._calls.script("create", spec.batch_id, secrets.token_hex(8), *fields)
        )

    async def enqueue(
        self,
        batch_id: str,
        position: int,
        items: Sequence[NewJob | FinishedRow],
        *,
        is_final: bool,
    ) -> EnqueueReply:
        """The chunk of the fan-out that starts at `position`. The same chunk may be sent again; one
        that exceeds the queue's bounds by itself is always refused as full.
        """
        settings = self._settings
        if self._bodies is not None:
            items = await self._bodies.outside(batch_id, items)
        reply = await self._calls.script(
            "enqueue",
            batch_id,
            position,
            int(is_final),
            settings.max_depth,
            settings.max_bytes,
            settings.max_outbox,
            *item_arguments(items),
        )
        kind = reply[0].decode()
        return EnqueueReply(
            accepted=kind == "OK",
            position=int(reply[1]),
            is_full=kind == "FULL",
            state=reply[2].decode() if kind == "STATE" else None,
        )

    async def cancel(self, batch_id: str) -> BatchState | None:
        """Stop a batch; its state afterwards, None if there is no such batch."""
        return _state(await self._calls.script("cancel", batch_id))

    async def cancel_job(self, batch_id: str, idx: int) -> bool:
        """Stop one line; False if it has its result or the batch is over."""
        return bool(await self._calls.script("cancel_job", batch_id, idx))

    # Workers

    async def take(
        self,
        consumer: str,
        models: Sequence[str],
        *,
        max_jobs: int,
        max_cost_tokens: int,
        num_in_flight: int,
    ) -> list[Lease]:
        """Up to `max_jobs` leases for these served names, worth `max_cost_tokens` (the last one
        may exceed it). Empty if there is nothing to do now. `num_in_flight` is what the consumer
        holds already. Consumer names must never be used again by another process.
        """
        if not models or max_jobs < 1 or max_cost_tokens < 1:
            return []
        settings = self._settings
        first = self._num_takes % len(models)
        self._num_takes += 1
        replies = await self._calls.script(
            "take",
            consumer,
            max_jobs,
            max_cost_tokens,
            num_in_flight,
            settings.lease_ms,
            settings.max_attempts,
            settings.burst,
            settings.quantum_tokens,
            settings.reap_every_ms,
            settings.max_outbox,
            settings.age_ms,
            *models[first:],
            *models[:first],
        )
        return [decode_lease(reply) for reply in replies]

    async def num_interactive(self, models: Sequence[str]) -> int:
        """How many jobs of interactive batches at least wait for these served names: one for each
        tenant that has some.
        """
        replies = await self._calls.pipeline(
            [("LLEN", self._keys.ring(model, is_interactive=True)) for model in models]
        )
        return sum(map(int, replies))

    async def commit(self, consumer: str, commits: Sequence[Commit]) -> list[CommitReply]:
        """Record results, in one round trip; one reply for each. Only the reply says what became
        visible. A batch whose keys were destroyed replies GONE.
        """
        calls: list[Sequence[Argument]] = [(consumer, *commit_arguments(each)) for each in commits]
        return [_commit_reply(reply) for reply in await self._calls.scripts("commit", calls)]

    async def retry(self, consumer: str, failure: Failure) -> CommitReply:
        """A start ended without a result, through no fault of the request. LATER: the job runs
        again after a pause. OK or LAST: it was given up, its row is visible and a dead letter holds
        a copy; or its batch or its own time was over, and the row says that. A batch whose keys
        were destroyed replies GONE.
        """
        settings, lease = self._settings, failure.lease
        pause_ms = settings.first_retry_ms * 2 ** min(lease.attempt - 1, 30)
        pause_ms = min(pause_ms, settings.longest_retry_ms) * random.uniform(0.5, 1.0)
        start = (consumer, *lease_arguments(lease), settings.max_attempts, int(pause_ms))
        end = (failure.cause, failure.message, failure.payload, *taken_arguments(lease))
        return _commit_reply((await self._calls.scripts("retry", [start + end]))[0])

    async def renew(
        self, consumer: str, leases: Sequence[Lease], started: Collection[Lease] = ()
    ) -> list[LostLease]:
        """Keep leases; the ones that must end. `started` are those among them whose work may bring
        the process down from now on: each spends one attempt, however often it is renewed.
        """
        if not leases:
            return []
        started_keys = {_entry_key(lease) for lease in started}
        arguments: list[Argument] = []
        for lease in leases:
            arguments += (*lease_arguments(lease), int(_entry_key(lease) in started_keys))
        reply = await self._calls.script("renew", consumer, *arguments)
        return [
            LostLease(lease=leases[reply[k] - 1], loss=LeaseLoss(reply[k + 1].decode()))
            for k in range(0, len(reply), 2)
        ]

    async def release(self, consumer: str, releases: Sequence[Release]) -> int:
        """Give leases back for others to take at once, without spending an attempt; how many were
        still held.
        """
        if not releases:
            return 0
        arguments: list[Argument] = []
        for each in releases:
            arguments += (*lease_arguments(each.lease), each.progress)
        return int(await self._calls.script("release", consumer, *arguments))

    # Sinks

    async def read_outbox(
        self, batch_id: str, count: int, *, after: str | None = None
    ) -> list[OutboxEntry]:
        """Up to `count` results from the start of the outbox, or after the entry id `after`. Those
        from the start are taken to be stored now: they stay as they are (see DeadLetters.revive).
        """
        key = self._keys.outbox(batch_id)
        start, end = f"({after}", "+"
        if after is None:
            newest = await self._calls.script("collect", batch_id)
            if newest is None:
                return []
            start, end = "-", newest
        entries = await self._calls.command(lambda redis: redis.xrange(key, start, end, count))
        return [decode_outbox_entry(entry_id, fields) for entry_id, fields in entries]

    async def delete_outbox(self, batch_id: str, entry_ids: Sequence[str]) -> None:
        """Forget results that are durable elsewhere."""
        if entry_ids:
            key = self._keys.outbox(batch_id)
            await self._calls.command(lambda redis: redis.xdel(key, *entry_ids))

    async def finish(self, batch_id: str) -> BatchState:
        """Finalizing -> completed, cancelled or expired, once the outbox is empty; the state.

        Raises UnknownBatchError.
        """
        state = _state(await self._calls.script("finish", batch_id, self._settings.retention_ms))
        if state is None:
            raise UnknownBatchError(f"there is no batch {batch_id}")
        return state

    # What everybody may ask

    async def status(self, batch_id: str) -> BatchStatus | None:
        """A snapshot; None if there is no such batch."""
        fields, num_outbox = await self._calls.pipeline(self._status_commands(batch_id))
        return decode_status(batch_id, fields, num_outbox=int(num_outbox))

    async def statuses(self, batch_ids: Sequence[str]) -> list[BatchStatus | None]:
        """Snapshots of several batches in one round trip. Foreign keys are the trouble of their
        batch alone: None for a hash that is none, no rows in an outbox that is none.
        """
        commands = [each for name in batch_ids for each in self._status_commands(name)]
        replies = await self._calls.pipeline(commands, keeps_errors=True) if commands else []
        return [
            decode_status(name, fields, num_outbox=length if isinstance(length, int) else 0)
            if isinstance(fields, dict)
            else None
            for name, fields, length in zip(batch_ids, replies[::2], replies[1::2], strict=True)
        ]

    def _status_commands(self, batch_id: str) -> list[tuple[str, str]]:
        return [("HGETALL", self._keys.batch(batch_id)), ("XLEN", self._keys.outbox(batch_id))]

    async def list_batches(self) -> list[BatchStatus]:
        """All batches that are known, oldest first."""
        ids = await self._calls.command(lambda redis: redis.zrange(self._keys.batches, 0, -1))
        names = [batch_id.decode() for batch_id in ids]
        found: list[BatchStatus] = []
        for first in range(0, len(names), _BATCHES_PER_ROUND_TRIP):
            some = await self.statuses(names[first : first + _BATCHES_PER_ROUND_TRIP])
            found += [status for status in some if status is not None]
        return found

    async def backlog(self) -> dict[str, Backlog]:
        """Queued and leased work by model (lag + pending)."""
        fields = await self._calls.command(lambda redis: redis.hgetall(self._keys.backlog))
        jobs = {name[5:]: int(n) for name, n in fields.items() if name.startswith(b"jobs:")}
        return {
            model.decode(): Backlog(
                num_jobs=num_jobs, num_tokens=int(fields.get(b"tokens:" + model, 0))
            )
            for model, num_jobs in sorted(jobs.items())
        }

    async def counters(self) -> dict[str, int]:
        """What happened so far in the namespace. Leases: reclaimed (started ones that lapsed),
        restored (others), deferred (last attempts that had to wait for an empty worker), fenced,
        gone, dup (results that were refused). Letters: dead_dropped (the oldest, since there were
        too many), dead_bytes (of their bodies now). Jobs: retried, dead, revived, deduped, lost,
        rescued. Absent means 0.
        """
        fields = await self._calls.command(lambda redis: redis.hgetall(self._keys.stat))
        return {name.decode(): int(n) for name, n in fields.items()}

    async def epoch(self) -> str | None:
        """Names the data on the server since the first batch. None or another one than before:
        Redis lost its data, and batches must be rebuilt from files.
        """
        value = await self._calls.command(lambda redis: redis.get(self._keys.epoch))
        return None if value is None else value.decode()

    # Repair

    async def restore(self, batch_id: str, done: Collection[int], counts: OutcomeCounts) -> bool:
        """Tell a new batch which lines have a result in files already, before its fan-out: they
        are skipped. False if the fan-out has begun.
        """
        return bool(
            await self._calls.script("restore", batch_id, bits_of(done), *_count_arguments(counts))
        )

    async def reconcile(
        self,
        batch_id: str,
        *,
        total: int,
        counts: OutcomeCounts,
        missing: Sequence[NewJob | FinishedRow],
    ) -> ReconcileReply:
        """Bring a quiet batch in line with its files: `counts` are theirs, `missing` the lines
        that no file holds.
        """
        if self._bodies is not None:
            missing = await self._bodies.outside(batch_id, missing)
        reply = await self._calls.script(
            "reconcile", batch_id, total, *_count_arguments(counts), *item_arguments(missing)
        )
        return ReconcileReply(result=ReconcileResult(reply[0].decode()), count=int(reply[1]))

    async def reopen(
        self, batch_id: str, done: Collection[int], counts: OutcomeCounts
    ) -> ReconcileReply:
        """The same for more missing lines than one call should carry: the fan-out starts over, and
        the lines in `done` are skipped. Never DONE.
        """
        reply = await self._calls.script(
            "reopen", batch_id, bits_of(done), *_count_arguments(counts)
        )
        return ReconcileReply(result=ReconcileResult(reply[0].decode()), count=int(reply[1]))

    async def reclaim_all(self, batch_id: str) -> int:
        """End all leases of a batch now; how many. The caller guarantees that no worker lives."""
        return int(await self._calls.script("reclaim_all", batch_id))

    async def delete_batch(self, batch_id: str) -> bool:
        """Forget a batch in whatever state; False if there was none."""
        return bool(await self._calls.script("delete", batch_id))

    async def set_tenant_weight(self, tenant: str, weight: int) -> None:
        """A tenant's share against other tenants; 1 by default. Raises ValueError below 1."""
        check_name("tenant", tenant)
        if weight < 1:
            raise ValueError(f"weight {weight} of tenant {tenant} is not at least 1")
        await self._calls.command(lambda redis: redis.hset(self._keys.tenants, tenant, str(weight)))


def _state(reply: bytes | None) -> BatchState | None:
    return None if reply is None else BatchState(reply.decode())


def _commit_reply(reply: bytes | RedisError) -> CommitReply:
    """GONE for a batch whose keys were destroyed; raises any other error."""
    if isinstance(reply, bytes):
        return CommitReply(reply.decode())
    if "WRONGTYPE" in str(reply):
        return CommitReply.GONE
    raise reply


def _entry_key(lease: Lease) -> tuple[str, str, str]:
    return (lease.batch_id, lease.model, lease.entry_id)


def _count_arguments(counts: OutcomeCounts) -> tuple[int, int, int, int]:
    return (counts.num_ok, counts.num_err, counts.num_cancelled, counts.num_expired)
