"""The endpoint and its control plane in one process, around one server, without arq and clocks."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from redis.asyncio import Redis

from jobs.api.app import create_app
from jobs.api.metrics import ApiMetrics
from jobs.api.services import ApiSettings, Services
from jobs.blobs import open_blobs
from jobs.control.collect import collect
from jobs.control.context import Control, ControlSettings
from jobs.control.feed import feed
from jobs.control.look import Look
from jobs.control.metrics import ControlMetrics
from jobs.control.steps import StepKind
from jobs.control.workspace import Workspace
from jobs.keys import Keys
from jobs.queue import Commit, Lease, Outcome
from jobs.queue_settings import QueueSettings
from jobs.records.batches import BatchRecord, BatchRecords
from jobs.records.files import FileRecords
from jobs.redis_queue import RedisQueue
from jobs.registry import Registry, WorkerInfo
from jobs.upkeep import Upkeep
from schemas.batch_object import Batch
from schemas.result import ResultRow

CHAT = "/v1/chat/completions"
WORK = {StepKind.FEED: feed, StepKind.COLLECT: collect}


def line(custom_id: str | None, **changes: Any) -> bytes:
    """An input line; None removes a key. `body` entries are given as a dict of changes."""
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
    body |= changes.pop("body", {})
    whole = {
        "custom_id": custom_id,
        "method": "POST",
        "url": CHAT,
        "body": {key: value for key, value in body.items() if value is not None},
    } | changes
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode()


def lines(count: int) -> bytes:
    return b"".join(line(f"r{n}") + b"\n" for n in range(count))


@dataclass
class Endpoint:
    """What a test talks to."""

    client: httpx2.AsyncClient
    services: Services
    control: Control
    redis: Redis
    keys: Keys
    kicked: list[str] = field(default_factory=list)

    @property
    def queue(self) -> RedisQueue:
        return self.control.queue

    async def upload(self, data: bytes, purpose: str = "batch", **fields: str) -> str:
        reply = await self.client.post(
            "/v1/files", data={"purpose": purpose, **fields}, files={"file": ("in.jsonl", data)}
        )
        assert reply.status_code == 200, reply.text
        return str(reply.json()["id"])

    async def order(self, file_id: str, **more: Any) -> str:
        """Create a batch; its id."""
        body = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h", **more}
        reply = await self.client.post("/v1/batches", json=body)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["id"])

    async def batch(self, batch_id: str) -> Batch:
        reply = await self.client.get(f"/v1/batches/{batch_id}")
        assert reply.status_code == 200, reply.text
        return Batch.model_validate(reply.json())

    async def record(self, batch_id: str) -> BatchRecord:
        record = await self.control.batches.get(batch_id)
        assert record is not None
        return record

    async def content(self, file_id: str | None) -> list[dict[str, Any]]:
        """The lines of a file; none without a file."""
        if file_id is None:
            return []
        reply = await self.client.get(f"/v1/files/{file_id}/content")
        assert reply.status_code == 200
        return [json.loads(each) for each in reply.content.splitlines()]

    async def serve(self, *models: str) -> None:
        """A worker that serves these models gives a sign of life."""
        worker = WorkerInfo(
            consumer="worker-a", models=models, max_model_len=64, started_at_ms=1_700_000_000_000
        )
        await Registry(self.redis, self.keys).register(worker)

    async def take(self, max_jobs: int = 1000) -> list[Lease]:
        return await self.queue.take(
            "worker-a", ["demo"], max_jobs=max_jobs, max_cost_tokens=10**9, num_in_flight=0
        )

    async def answer(self, leases: Sequence[Lease]) -> None:
        """Commit a 200 for each lease."""
        await self.queue.commit(
            "worker-a",
            [
                Commit(lease=lease, outcome=Outcome.OK, payload=good_row(lease).encode())
                for lease in leases
            ],
        )

    async def finish(self, batch_id: str) -> Batch:
        """Feed, answer everything, collect."""
        await feed(self.control, batch_id)
        while leases := await self.take():
            await self.answer(leases)
        await collect(self.control, batch_id)
        return await self.batch(batch_id)

    async def settle(self, look: Look | None = None) -> None:
        """Do what looks say is left to do, until nothing is."""
        look = look or Look(self.control)
        for _ in range(20):
            steps = await look.steps()
            if not steps:
                return
            for needed in steps:
                await WORK[needed.kind](self.control, needed.batch_id)


def good_row(lease: Lease) -> ResultRow:
    return ResultRow(
        idx=lease.idx,
        custom_id=lease.custom_id,
        status_code=200,
        model="demo",
        content="hello",
        prompt_tokens=7,
        cached_tokens=2,
        completion_tokens=3,
        reasoning_tokens=1,
        response_json=json.dumps({"id": f"chatcmpl-{lease.idx}"}),
    )


def make_endpoint(
    redis: Redis,
    folder: Path,
    *,
    settings: ApiSettings | None = None,
    control_settings: ControlSettings | None = None,
    queue_settings: QueueSettings | None = None,
) -> Endpoint:
    keys = Keys("test")
    queue_settings = queue_settings or QueueSettings(reap_every_ms=1)
    queue = RedisQueue(redis, keys, queue_settings)
    blobs = open_blobs(str(folder / "blobs"))
    kicked: list[str] = []

    async def kick(batch_id: str) -> None:
        kicked.append(batch_id)

    async def is_ready() -> str | None:
        return None

    metrics = ApiMetrics()
    services = Services(
        files=FileRecords(redis, keys),
        batches=BatchRecords(redis, keys),
        queue=queue,
        registry=Registry(redis, keys),
        blobs=blobs,
        kick=kick,
        is_ready=is_ready,
        metrics=metrics,
        settings=settings or ApiSettings(),
    )
    control = Control(
        batches=services.batches,
        files=services.files,
        queue=queue,
        upkeep=Upkeep(redis, keys, queue_settings),
        registry=services.registry,
        blobs=blobs,
        workspace=Workspace(folder / "data"),
        metrics=ControlMetrics(metrics.registry),
        settings=control_settings or ControlSettings(flush_s=0.0),
    )
    client = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(create_app(services), raise_app_exceptions=False),
        base_url="http://endpoint",
    )
    return Endpoint(client, services, control, redis, keys, kicked)
