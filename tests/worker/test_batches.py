"""enqueue, status, results, cancel, and `run` with a shared server."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.bodies import INLINE_BYTES
from jobs.registry import Registry
from tests.worker.doubles import fake_machine
from tests.worker.test_run import line, read, write
from worker import cli, loading, run_plan
from worker.connection import open_connection
from worker.machine import Machine
from worker.maintain import build_maintenance
from worker.metrics import WorkerMetrics
from worker.options import QueueOptions
from worker.path_sinks import PathSinks
from worker.shutdown import Shutdown
from worker.work import WorkSettings, work

pytestmark = pytest.mark.redis


@contextmanager
def worker(url: str, *names: str) -> Iterator[None]:
    """A worker in a thread of its own, as `headrace worker` composes it."""
    shutdowns: list[tuple[asyncio.AbstractEventLoop, Shutdown]] = []
    started = threading.Event()

    async def serve() -> None:
        machine = fake_machine(names=names or ("demo",))
        metrics, shutdown = WorkerMetrics("demo"), Shutdown()
        shutdowns.append((asyncio.get_running_loop(), shutdown))
        async with open_connection(QueueOptions(redis=url)) as connection:
            sinks = PathSinks(connection, metrics)
            maintaining = asyncio.create_task(
                build_maintenance(connection, metrics, drain=sinks.drain).run()
            )
            settings = WorkSettings(lease_s=5, drain_s=5)
            working = asyncio.create_task(work(machine, connection, metrics, shutdown, settings))
            registry = Registry(connection.redis, connection.keys)
            while not await registry.served_models():
                await asyncio.sleep(0.01)
            started.set()
            await working
            maintaining.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(10)
        yield
    finally:
        loop, shutdown = shutdowns[0]
        loop.call_soon_threadsafe(shutdown.stop)
        thread.join(20)


def enqueue(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["enqueue", *arguments]) == 0
    return capsys.readouterr().out.splitlines()[0]


def status_of(batch_id: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert cli.main(["status", batch_id, "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_enqueue_status_results(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(20)), "bad")
    batch_id = enqueue(capsys, str(file))
    before = status_of(batch_id, capsys)
    assert (before["state"], before["total"], before["num_err"]) == ("in_progress", 21, 1)
    with worker(url):
        assert cli.main(["results", batch_id, "-o", str(tmp_path / "out")]) == 3
    assert [row["custom_id"] for row in read(tmp_path / "out" / "output.jsonl")] == [
        f"r{n}" for n in range(20)
    ]
    assert len(read(tmp_path / "out" / "errors.jsonl")) == 1
    assert "rows ok" in capsys.readouterr().out
    assert status_of(batch_id, capsys)["state"] == "completed"


def test_results_can_be_written_again_to_the_same_place_only(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"))
    batch_id = enqueue(capsys, str(file))
    with worker(url):
        assert cli.main(["results", batch_id, "-o", str(tmp_path / "out")]) == 0
    (tmp_path / "out" / "output.jsonl").unlink()
    assert cli.main(["results", batch_id, "-o", str(tmp_path / "out")]) == 0
    assert len(read(tmp_path / "out" / "output.jsonl")) == 1
    assert cli.main(["results", batch_id, "-o", str(tmp_path / "elsewhere")]) == 1
    assert "another output" in capsys.readouterr().err


def test_enqueue_waits_and_writes(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(20)))
    with worker(url):
        code = cli.main(["enqueue", str(file), "--wait", "-o", str(tmp_path / "out.jsonl")])
    assert code == 0
    assert len(read(tmp_path / "out.jsonl")) == 20


def test_workers_write_to_the_path_of_a_batch(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(20)))
    batch_id = enqueue(capsys, str(file), "-o", str(tmp_path / "out"))
    with worker(url):
        wait_until_final(batch_id, capsys)
    assert len(read(tmp_path / "out" / "output.jsonl")) == 20
    assert cli.main(["results", batch_id, "-o", str(tmp_path / "mine")]) == 1
    assert str(tmp_path / "out") in capsys.readouterr().err


def test_rows_that_stay_in_redis_can_be_read_often(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(5)))
    batch_id = enqueue(capsys, str(file), "-o", "redis")
    with worker(url):
        wait_until_final(batch_id, capsys)
    for name in ("one.jsonl", "two.jsonl"):
        assert cli.main(["results", batch_id, "-o", str(tmp_path / name)]) == 0
        assert len(read(tmp_path / name)) == 5


def test_a_cancelled_batch_ends_without_any_worker(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(5)))
    batch_id = enqueue(capsys, str(file))
    assert cli.main(["cancel", batch_id]) == 0
    assert cli.main(["results", batch_id, "-o", str(tmp_path / "out")]) == 3
    errors = read(tmp_path / "out" / "errors.jsonl")
    assert {row["error"]["code"] for row in errors} == {"batch_cancelled"}
    assert status_of(batch_id, capsys)["state"] == "cancelled"
    assert cli.main(["cancel", batch_id]) == 0


def test_a_finished_batch_cannot_be_cancelled(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    batch_id = enqueue(capsys, str(write(tmp_path / "in.jsonl", "bad")))
    assert cli.main(["results", batch_id, "-o", str(tmp_path / "out")]) == 3
    assert cli.main(["cancel", batch_id]) == 1
    assert "completed" in capsys.readouterr().err


def test_an_interrupted_enqueue_is_continued_by_its_batch_id(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(5)))
    batch_id = enqueue(capsys, str(file))
    assert enqueue(capsys, str(file), "--batch-id", batch_id) == batch_id
    assert status_of(batch_id, capsys)["num_enqueued"] == 5
    other = write(tmp_path / "other.jsonl", line("x"))
    assert cli.main(["enqueue", str(other), "--batch-id", batch_id]) == 1
    assert "another input" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_an_unknown_batch_is_one_sentence(
    url: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "batch_none"]) == 1
    assert capsys.readouterr().err == "headrace: there is no batch batch_none\n"


@pytest.mark.parametrize(
    "arguments",
    [["status", "b"], ["cancel", "b"], ["results", "b", "-o", "out"], ["worker"]],
)
def test_commands_that_need_a_server_ask_for_one(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HEADRACE_REDIS", raising=False)
    assert cli.main(arguments) == 2
    assert "--redis" in capsys.readouterr().err


def test_lines_for_an_unknown_model_are_refused_once_models_are_known(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b", model="nobody"))
    first = enqueue(capsys, str(file))
    assert status_of(first, capsys)["num_err"] == 0, "nothing is known yet: the job waits"
    with worker(url):
        second = enqueue(capsys, str(file))
    assert status_of(second, capsys)["num_err"] == 1


def test_run_on_a_shared_server(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_fake_model(monkeypatch)
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(10)))
    assert cli.main(["run", str(file), "-o", str(tmp_path / "out")]) == 0
    assert len(read(tmp_path / "out" / "output.jsonl")) == 10
    assert cli.main(["run", str(file), "-o", str(tmp_path / "out")]) == 0


def test_a_run_that_is_complete_leaves_no_large_request_behind(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_fake_model(monkeypatch)
    bodies = tmp_path / "bodies"
    file = write(tmp_path / "in.jsonl", line("large", user="x" * INLINE_BYTES), line("small"))
    out = tmp_path / "out"
    assert cli.main(["run", str(file), "-o", str(out), "--blobs", str(bodies)]) == 0
    assert len(read(out / "output.jsonl")) == 2
    assert any(bodies.iterdir()), "it was there"
    assert [path for path in bodies.rglob("body-*") if path.is_file()] == []


def test_run_can_leave_its_rows_in_redis(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_fake_model(monkeypatch)
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(10)), "bad")
    assert cli.main(["run", str(file), "-o", "redis"]) == 3
    batch_id = capsys.readouterr().out.splitlines()[0]
    assert cli.main(["results", batch_id, "-o", str(tmp_path / "out")]) == 3
    assert len(read(tmp_path / "out" / "output.jsonl")) == 10


def test_run_cannot_leave_its_rows_in_a_server_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HEADRACE_REDIS", raising=False)
    file = write(tmp_path / "in.jsonl", line("a"))
    assert cli.main(["run", str(file), "-o", "redis"]) == 2
    assert "--redis" in capsys.readouterr().err


def test_nothing_of_a_batch_is_left_behind_in_its_folder(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"))
    batch_id = enqueue(capsys, str(file))
    with worker(url):
        assert cli.main(["results", batch_id, "-o", str(tmp_path / "out")]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [".headrace", "output.jsonl", "results.parquet", "run.json"]


def wait_until_final(batch_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(600):
        if status_of(batch_id, capsys)["state"] == "completed":
            return
        time.sleep(0.05)
    raise AssertionError("the batch was not finished")


def use_fake_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_config: object, names: tuple[str, ...]) -> Machine:
        return fake_machine(names=names, identity="hash dtype=auto seed=0")

    monkeypatch.setattr(run_plan, "resolve_model", lambda *_: Path("/nowhere"))
    monkeypatch.setattr(run_plan, "model_hash", lambda _: "hash")
    monkeypatch.setattr(loading, "load_machine", load)
