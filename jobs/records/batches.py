"""The endpoint's batches as their clients see them: status, stamps, counts, file ids.

Owns: the records in Redis and their legal moves, each a compare-and-set in a script. Must not know:
the queue (its own view of a batch is another hash), files' bytes, HTTP.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.queue import BatchState
from jobs.records.files import NewFile
from jobs.records.page import Page, PageRequest, walk
from jobs.redis_calls import RedisCalls
from jobs.retrying import Retrying
from jobs.scripts import Argument
from schemas.batch_object import Batch, BatchErrors, BatchUsage, RequestCounts

__all__ = ["BatchRecord", "BatchRecords", "Creation", "Ending", "Idempotency", "Move", "NewRecord"]

_REMEMBER_KEYS_S = 86_400
_STAMPS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """A client's idempotency key and the request it came with, both as digests."""

    key: str
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecord:
    """A batch as its client orders it. `window_s`: how long it may take."""

    batch_id: str
    tenant: str
    endpoint: str
    input_file_id: str
    completion_window: str
    window_s: int
    metadata: Mapping[str, str] | None = None
    output_lifetime_s: int | None = None
    idempotency: Idempotency | None = None


class Creation(StrEnum):
    """NEW: the batch was created. KNOWN: the same call was made before. REUSED: its idempotency
    key stood for another request; nothing was created.
    """

    NEW = "NEW"
    KNOWN = "KNOWN"
    REUSED = "REUSED"


@dataclass(frozen=True, slots=True)
class Move:
    """Whether a compare-and-set took place, and the status after it; None: no such batch."""

    is_done: bool
    status: BatchState | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a batch that ran ends. `lifetime_s`: how long its files stay."""

    status: BatchState
    counts: RequestCounts
    usage: BatchUsage
    lifetime_s: int
    output: NewFile | None = None
    error: NewFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRecord:
    """A batch: what clients see, and what the control plane keeps beside it.

    `input_blob` is None if there was no such file, or the batch is closed. `store_id` names the
    data folder that its results are gathered in, once one has begun.
    """

    batch: Batch
    tenant: str
    input_blob: str | None
    input_purpose: str | None
    output_lifetime_s: int | None
    store_id: str | None

    @property
    def status(self) -> BatchState:
        return BatchState(self.batch.status)


class BatchRecords:
    """The batches of one namespace."""

    def __init__(self, redis: Redis, keys: Keys, *, retrying: Retrying | None = None) -> None:
        self._calls = RedisCalls(redis, keys, retrying)
        self._keys = keys

    async def create(self, new: NewRecord) -> tuple[Creation, str]:
        """What became of the call, and the id of the batch that it stands for."""
        fields: list[Argument] = [
            "endpoint", new.endpoint, "completion_window", new.completion_window
        ]  # fmt: skip
        if new.metadata is not None:
            fields += ["metadata", json.dumps(dict(new.metadata), ensure_ascii=False)]
        if new.output_lifetime_s is not None:
            fields += ["output_lifetime_s", new.output_lifetime_s]
        idempotency = new.idempotency
        kind, batch_id = await self._calls.script(
            "record_create",
            new.batch_id,
            new.tenant,
            new.window_s,
            new.input_file_id,
            idempotency.key if idempotency else "",
            idempotency.request if idempotency else "",
            _REMEMBER_KEYS_S,
            *fields,
        )
        return Creation(kind.decode()), batch_id.decode()

    async def knows(self, tenant: str, idempotency: Idempotency) -> bool:
        """Whether the key of a call came before."""
        name = self._keys.idempotency(tenant, idempotency.key)
        return bool(await self._calls.command(lambda redis: redis.exists(name)))

    async def get(self, batch_id: str, tenant: str | None = None) -> BatchRecord | None:
        """A batch; None if there is none, or it is not the tenant's."""
        record = (await self.load([batch_id]))[0]
        return record if record is None or tenant in (None, record.tenant) else None

    async def load(self, batch_ids: Sequence[str]) -> list[BatchRecord | None]:
        """Several batches in one round trip."""
        replies = await self._calls.pipeline(
            [("HGETALL", self._keys.record(batch_id)) for batch_id in batch_ids]
        )
        return [_decode(name, reply) for name, reply in zip(batch_ids, replies, strict=True)]

    async def page(self, tenant: str, request: PageRequest) -> Page[BatchRecord] | None:
        """Some of the tenant's batches; None if `after` names none of them."""
        after: int | None = None
        if request.after is not None:
            name = self._keys.record(request.after)
            owner, seq = await self._calls.command(
                lambda redis: redis.hmget(name, ["tenant", "seq"])
            )
            if owner is None or owner.decode() != tenant:
                return None
            after = int(seq)
        items: list[BatchRecord] = []
        steps = walk(
            self._calls, self._keys.records(tenant), after=after, is_ascending=request.is_ascending
        )
        async for ids in steps:
            for first in range(0, len(ids), request.limit + 1):
                some = await self.load(ids[first : first + request.limit + 1])
                items += [record for record in some if record is not None]
                if len(items) > request.limit:
                    return Page(items[: request.limit], has_more=True)
        return Page(items, has_more=False)

    async def cancel(self, batch_id: str) -> Move:
        """Ask for the end of a batch that has not ended; other statuses stay as they are."""
        before = (BatchState.VALIDATING, BatchState.IN_PROGRESS, BatchState.FINALIZING)
        return await self.move(batch_id, before, BatchState.CANCELLING)

    async def fail(self, batch_id: str, errors: BatchErrors) -> Move:
        """Validating -> failed: the input cannot be used."""
        before = (BatchState.VALIDATING,)
        return await self.move(batch_id, before, BatchState.FAILED, errors=errors.model_dump_json())

    async def move(
        self,
        batch_id: str,
        before: Sequence[BatchState],
        after: BatchState,
        **fields: str | int,
    ) -> Move:
        """To another status with its stamp and `fields`, if it is in one of `before`."""
        pairs = [part for pair in fields.items() for part in pair]
        reply = await self._calls.script(
            "record_move", batch_id, ",".join(before), after.value, *pairs
        )
        return _move(reply)

    async def note(self, batch_id: str, **fields: str | int) -> None:
        """Write down what only grows more precise: total, model, store_id."""
        name = self._keys.record(batch_id)
        await self._calls.command(lambda redis: redis.hset(name, mapping=fields))

    async def claim(self, batch_id: str, store_id: str) -> str:
        """Tie the batch to a data folder, if it is to none; the folder that it is tied to."""
        name = self._keys.record(batch_id)
        await self._calls.command(lambda redis: redis.hsetnx(name, "store_id", store_id))
        value = await self._calls.command(lambda redis: redis.hget(name, "store_id"))
        return str(value.decode())

    async def finish(self, batch_id: str, before: BatchState, ending: Ending) -> Move:
        """The last move of a batch that ran: status, stamp, counts and files at once."""
        fields: list[Argument] = [
            "total", ending.counts.total,
            "completed", ending.counts.completed,
            "failed", ending.counts.failed,
            "usage", ending.usage.model_dump_json(),
        ]  # fmt: skip
        files: list[Argument] = []
        for name, file in (("output_file_id", ending.output), ("error_file_id", ending.error)):
            if file is not None:
                about = file.fields()
                files += [name, file.file_id, file.blob, len(about), *about]
        reply = await self._calls.script(
            "record_finish",
            batch_id,
            before.value,
            ending.status.value,
            ending.lifetime_s,
            len(fields),
            *fields,
            *files,
        )
        return _move(reply)

    async def close(self, batch_id: str) -> None:
        """Nothing is left to do for it."""
        await self._calls.script("record_close", batch_id)

    async def open_ids(self) -> list[str]:
        """Batches that something is left to do for."""
        members = await self._calls.command(lambda redis: redis.smembers(self._keys.open_records))
        return sorted(member.decode() for member in members)

    async def held(self, names: Sequence[str]) -> set[str]:
        """Those of the locks `names` that somebody holds."""
        keys = [("EXISTS", self._keys.lock(name)) for name in names]
        replies = await self._calls.pipeline(keys) if keys else []
        return {name for name, is_held in zip(names, replies, strict=True) if is_held}


def _move(reply: Sequence[bytes | int]) -> Move:
    is_done, status = reply
    assert isinstance(status, bytes)
    return Move(bool(is_done), BatchState(status.decode()) if status else None)


def _decode(batch_id: str, reply: object) -> BatchRecord | None:
    assert isinstance(reply, Mapping)
    fields = {name.decode(): value.decode() for name, value in reply.items()}
    if "status" not in fields:
        return None
    stamps = {f"{name}_at": _integer(fields.get(f"{name}_at")) for name in _STAMPS}
    batch = Batch.model_validate(
        {
            "id": batch_id,
            "endpoint": fields["endpoint"],
            "model": fields.get("model"),
            "errors": _json(fields.get("errors")),
            "input_file_id": fields["input_file_id"],
            "completion_window": fields["completion_window"],
            "status": fields["status"],
            "output_file_id": fields.get("output_file_id"),
            "error_file_id": fields.get("error_file_id"),
            "created_at": int(fields["created_at"]),
            "expires_at": int(fields["expires_at"]),
            "request_counts": {
                name: int(fields.get(name, 0)) for name in ("total", "completed", "failed")
            },
            "usage": _json(fields.get("usage")),
            "metadata": _json(fields.get("metadata")),
            **stamps,
        }
    )
    return BatchRecord(
        batch=batch,
        tenant=fields["tenant"],
        input_blob=fields.get("input_blob"),
        input_purpose=fields.get("input_purpose"),
        output_lifetime_s=_integer(fields.get("output_lifetime_s")),
        store_id=fields.get("store_id"),
    )


def _integer(text: str | None) -> int | None:
    return None if text is None else int(text)


def _json(text: str | None) -> object:
    return None if text is None else json.loads(text)
