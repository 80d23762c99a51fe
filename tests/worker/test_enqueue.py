"""`headrace enqueue` again, after its batch was over without it."""

import asyncio
import json
from pathlib import Path

import pytest

from jobs.embedded_server import EmbeddedServer
from jobs.keys import Keys
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.queue import BatchSpec, BatchState, Outcome
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from jobs.upkeep import Upkeep
from tests.jobs.builders import make_line, write_lines
from worker import cli

pytestmark = pytest.mark.redis

NUM_LINES = 12


async def leave_half_enqueued(url: str, namespace: str, path: Path, *, is_final: bool) -> None:
    """As an enqueue that was killed leaves a batch, which was then cancelled and closed."""
    redis, keys = connect(url), Keys(namespace)
    settings = QueueSettings(producer_timeout_ms=1)
    queue, upkeep = RedisQueue(redis, keys, settings), Upkeep(redis, keys, settings)
    source = open_input(path)
    metadata = json.dumps({"input": str(path), "sha256": source.sha256})
    await queue.create_batch(BatchSpec(batch_id="b", sink="redis", metadata_json=metadata))
    (chunk,) = JsonlProducer(source).chunks()
    await queue.enqueue("b", 0, chunk[:5], is_final=False)
    await queue.cancel("b")
    await asyncio.sleep(0.003)
    await upkeep.sweep(["b"])
    if is_final:
        assert await queue.finish("b") is BatchState.CANCELLED
    await redis.aclose()


async def outcomes(url: str, namespace: str) -> list[tuple[int, Outcome]]:
    redis = connect(url)
    queue = RedisQueue(redis, Keys(namespace), QueueSettings())
    entries = await queue.read_outbox("b", 100, after="0-0")
    await redis.aclose()
    return sorted((entry.idx, entry.outcome) for entry in entries)


@pytest.mark.parametrize("is_final", [False, True])
def test_an_enqueue_that_comes_back_too_late_says_so(
    tmp_path: Path, server: EmbeddedServer, capsys: pytest.CaptureFixture[str], is_final: bool
) -> None:
    path = write_lines(tmp_path / "in.jsonl", [make_line(number) for number in range(NUM_LINES)])
    asyncio.run(leave_half_enqueued(server.url, tmp_path.name, path, is_final=is_final))
    at = ("--redis", server.url, "--namespace", tmp_path.name)
    code = cli.main(["enqueue", str(path), "--batch-id", "b", *at])
    rows = asyncio.run(outcomes(server.url, tmp_path.name))
    if is_final:
        assert code == 1
        said = capsys.readouterr().err
        assert "batch b is cancelled with the 5 lines" in said
        assert "enqueue the others as a new batch" in said
        assert len(rows) == 5
    else:
        assert code == 0
        assert rows == [(idx, Outcome.CANCELLED) for idx in range(NUM_LINES)]
