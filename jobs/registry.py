"""Who works here, and for which models.

Owns: heartbeats of workers, the names of models that were ever served. Must not know: jobs. A
model without a live worker is still known: its jobs wait.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.redis_calls import RedisCalls
from jobs.retrying import Retrying

__all__ = ["KnownModel", "Registry", "WorkerInfo"]

_TTL_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """One worker as it described itself. `models` are the names it serves; the lengths are in
    tokens.
    """

    consumer: str
    models: tuple[str, ...]
    max_model_len: int
    host: str = ""
    pid: int = 0
    device: str = ""
    fingerprint: str = ""
    started_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A served name as its workers last described it."""

    name: str
    max_model_len: int
    fingerprint: str = ""


class Registry:
    """The heartbeats of one namespace. One that is older than `ttl_ms` is over."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        ttl_ms: int = _TTL_MS,
        retrying: Retrying | None = None,
    ) -> None:
        self._calls = RedisCalls(redis, keys, retrying)
        self._keys = keys
        self._ttl_ms = ttl_ms

    async def register(self, worker: WorkerInfo) -> None:
        """A sign of life; send one at least three times within `ttl_ms`."""
        keys = self._keys
        about = json.dumps(asdict(worker))
        commands: list[tuple[str | int, ...]] = [
            ("SET", keys.worker(worker.consumer), about, "PX", self._ttl_ms),
            ("SADD", keys.workers, worker.consumer),
        ]
        for name in worker.models:
            model = {"max_model_len": worker.max_model_len, "fingerprint": worker.fingerprint}
            commands.append(("HSET", keys.known_models, name, json.dumps(model)))
        await self._calls.pipeline(commands)

    async def deregister(self, consumer: str) -> None:
        """The worker leaves; its models stay known."""
        await self._calls.pipeline(
            [("DEL", self._keys.worker(consumer)), ("SREM", self._keys.workers, consumer)]
        )

    async def live_workers(self) -> list[WorkerInfo]:
        """Workers with a fresh heartbeat, by consumer name; the others are forgotten."""
        members = await self._calls.command(lambda redis: redis.smembers(self._keys.workers))
        consumers = sorted(member.decode() for member in members)
        if not consumers:
            return []
        names = [self._keys.worker(consumer) for consumer in consumers]
        notes = await self._calls.command(lambda redis: redis.mget(names))
        live: list[WorkerInfo] = []
        gone: list[str] = []
        for consumer, note in zip(consumers, notes, strict=True):
            if note is None:
                gone.append(consumer)
            else:
                live.append(_worker_from(json.loads(note)))
        if gone:
            await self._calls.command(lambda redis: redis.srem(self._keys.workers, *gone))
        return live

    async def known_models(self) -> dict[str, KnownModel]:
        """Every name that a worker serves or ever served."""
        notes: dict[bytes, bytes] = await self._calls.command(
            lambda redis: redis.hgetall(self._keys.known_models)
        )
        return {
            name.decode(): _model_from(name.decode(), json.loads(note))
            for name, note in sorted(notes.items())
        }

    async def served_models(self) -> set[str]:
        """Names that a live worker serves now."""
        return {name for worker in await self.live_workers() for name in worker.models}


def _worker_from(note: dict[str, Any]) -> WorkerInfo:
    """Fields that only a newer version knows are ignored."""
    known = {name: note[name] for name in WorkerInfo.__slots__ if name in note}
    return WorkerInfo(**{**known, "models": tuple(known["models"])})


def _model_from(name: str, note: dict[str, Any]) -> KnownModel:
    known = {field: note[field] for field in KnownModel.__slots__ if field in note}
    return KnownModel(**{**known, "name": name})
