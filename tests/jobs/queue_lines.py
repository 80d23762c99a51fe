"""What the queue's tests share: batches and jobs to put in, and a look at all of Redis at once."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.queue import BatchSpec, Commit, Failure, FinishedRow, Lease, NewJob, OutboxEntry, Outcome
from jobs.redis_queue import RedisQueue
from schemas.result import ResultRow

MODEL = "demo"
GROUP = "g"
RELEASED_IDLE_MS = 86_400_000
_LOOK_AGAIN_S = 0.002  # behind `reap_every_ms` of these tests, 1 ms


def job(
    idx: int, *, model: str = MODEL, cost: int = 10, body: bytes = b"{}", **more: Any
) -> NewJob:
    return NewJob(
        idx=idx,
        custom_id=f"line-{idx}",
        model=model,
        url="/v1/chat/completions",
        cost_tokens=cost,
        body=body,
        **more,
    )


def row(idx: int, outcome: Outcome = Outcome.ERR, payload: bytes = b"row") -> FinishedRow:
    return FinishedRow(idx=idx, custom_id=f"line-{idx}", outcome=outcome, payload=payload)


async def add_batch(
    queue: RedisQueue,
    batch_id: str,
    items: Sequence[NewJob | FinishedRow],
    *,
    is_final: bool = True,
    **spec: object,
) -> None:
    """A new batch with these lines."""
    assert await queue.create_batch(BatchSpec(batch_id=batch_id, **spec))  # type: ignore[arg-type]
    reply = await queue.enqueue(batch_id, 0, items, is_final=is_final)
    assert reply.accepted, reply


async def take(
    queue: RedisQueue,
    consumer: str = "worker-a",
    *,
    models: Sequence[str] = (MODEL,),
    max_jobs: int = 100,
    max_cost: int = 1_000_000,
    in_flight: int = 0,
) -> list[Lease]:
    return await queue.take(
        consumer, models, max_jobs=max_jobs, max_cost_tokens=max_cost, num_in_flight=in_flight
    )


def commits(leases: Sequence[Lease], outcome: Outcome = Outcome.OK) -> list[Commit]:
    return [
        Commit(lease=lease, outcome=outcome, payload=f"result {lease.idx}".encode())
        for lease in leases
    ]


def failure(lease: Lease, cause: str = "internal_error") -> Failure:
    """The worker failed on this job, not the request."""
    row = ResultRow(idx=lease.idx, custom_id=lease.custom_id, status_code=500, error_code=cause)
    return Failure(lease=lease, cause=cause, message="it broke", payload=row.encode())


async def let_lapse(
    redis: Redis, keys: Keys, leases: Sequence[Lease], *, idle_ms: int = RELEASED_IDLE_MS
) -> None:
    """As if nobody had renewed these leases for so long: same owners, same delivery counts."""
    for lease in leases:
        stream = keys.stream(lease.batch_id, lease.model)
        pending = await redis.xpending_range(stream, GROUP, lease.entry_id, lease.entry_id, 1)
        if pending:
            owner = pending[0]["consumer"].decode()
            await redis.xclaim(
                *(stream, GROUP, owner, 0, [lease.entry_id]), idle=idle_ms, justid=True
            )
    await asyncio.sleep(_LOOK_AGAIN_S)


def is_fake(redis: Redis) -> bool:
    """Some faults cannot be played on the in-process server."""
    return type(redis).__module__.startswith("fakeredis")


async def outbox(queue: RedisQueue, batch_id: str) -> list[OutboxEntry]:
    """All rows of a batch, without taking them as a sink would."""
    return await queue.read_outbox(batch_id, 1_000_000, after="0-0")


async def empty_outbox(queue: RedisQueue, batch_id: str) -> list[OutboxEntry]:
    """Take all rows of a batch away, as a sink does that has stored them."""
    entries = await outbox(queue, batch_id)
    await queue.delete_outbox(batch_id, [entry.entry_id for entry in entries])
    return entries


async def start(queue: RedisQueue, consumer: str, leases: Sequence[Lease]) -> None:
    """The engine is about to run these."""
    assert await queue.renew(consumer, leases, started=leases) == []


@dataclass(frozen=True)
class Snapshot:
    """Everything Redis holds about one batch."""

    num_enqueued: int
    with_result: set[int]
    in_stream: list[int]
    counted: int
    outbox_idxs: list[int]


async def snapshot(redis: Redis, queue: RedisQueue, batch_id: str) -> Snapshot:
    keys = queue.keys
    models = [model.decode() for model in await redis.smembers(keys.models(batch_id))]
    async with redis.pipeline(transaction=False) as pipeline:
        pipeline.hgetall(keys.batch(batch_id))
        pipeline.get(keys.bitmap(batch_id))
        pipeline.xrange(keys.outbox(batch_id))
        for model in models:
            pipeline.xrange(keys.stream(batch_id, model))
        fields, bits, rows, *streams = await pipeline.execute()
    return Snapshot(
        num_enqueued=int(fields[b"enq"]),
        with_result={
            8 * k + bit
            for k, byte in enumerate(bits or b"")
            for bit in range(8)
            if byte & 0x80 >> bit
        },
        in_stream=[
            int(entry_id.partition(b"-")[2]) for entries in streams for entry_id, _ in entries
        ],
        counted=sum(int(fields[name]) for name in (b"ok", b"err", b"cancelled", b"expired")),
        outbox_idxs=[int(entry[b"i"]) for _, entry in rows],
    )


async def check_invariants(redis: Redis, queue: RedisQueue, batch_id: str) -> Snapshot:
    """I2 and I3, for a batch whose fan-out is in line order and whose outbox is never emptied."""
    seen = await snapshot(redis, queue, batch_id)
    assert len(seen.in_stream) == len(set(seen.in_stream)), "a line is queued twice"
    assert seen.with_result.isdisjoint(seen.in_stream), "a line with a result is still queued"
    assert seen.with_result | set(seen.in_stream) == set(range(seen.num_enqueued))
    assert seen.counted == len(seen.with_result)
    assert sorted(seen.outbox_idxs) == sorted(seen.with_result), "rows and bits differ"
    return seen
