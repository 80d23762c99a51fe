"""`headrace run -o redis`, when Redis loses its data or a signal comes."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from engine.step import StepPlan, StepResult
from jobs.keys import Keys
from jobs.queue import BatchState
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from tests.worker.stage import CountingExecutor, Stage
from tests.worker.test_batches import status_of, worker
from tests.worker.test_run import line, read, write
from worker import cli, run_to_redis
from worker.connection import queue_settings

pytestmark = pytest.mark.redis

KEYS = Keys("headrace")


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage.set_up(monkeypatch)


class MeddlingExecutor(CountingExecutor):
    """Before one step, something happens to the server."""

    def __init__(self, url: str, step: int) -> None:
        super().__init__()
        self._client = Redis.from_url(url)
        self._step = step

    def submit(self, plan: StepPlan) -> StepResult:
        if len(self.num_rows) == self._step:
            self.meddle(self._client)
        return super().submit(plan)

    def meddle(self, client: Redis) -> None:
        client.flushall()


def fetch(batch_id: str, out: Path) -> list[str]:
    assert cli.main(["results", batch_id, "-o", str(out)]) == 0
    return [row["custom_id"] for row in read(out)]


def check_run_of_ten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run ends well, and its ten rows are there to be fetched."""
    file = write(folder / "in.jsonl", *(line(f"r{n}") for n in range(10)))
    assert cli.main(["run", str(file), "-o", "redis"]) == 0
    batch_id = capsys.readouterr().out.splitlines()[0]
    assert fetch(batch_id, folder / "out.jsonl") == [f"r{n}" for n in range(10)]


@pytest.mark.timeout(60)
def test_a_server_that_is_emptied_is_told_everything_again(
    tmp_path: Path, url: str, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.make = lambda: MeddlingExecutor(url, step=3)
    check_run_of_ten(tmp_path, capsys)


class ForgettingExecutor(MeddlingExecutor):
    """The server was rolled back to before the fan-out's end."""

    def meddle(self, client: Redis) -> None:
        (batch_id,) = client.zrange(KEYS.batches, 0, -1)
        key = KEYS.batch(batch_id.decode())
        client.hdel(key, "enq_done", "total")
        client.hset(key, "enq", 4)


@pytest.mark.timeout(60)
def test_a_server_that_forgets_the_end_of_the_fan_out_is_sent_it_again(
    tmp_path: Path, url: str, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.make = lambda: ForgettingExecutor(url, step=1)
    check_run_of_ten(tmp_path, capsys)


@pytest.mark.timeout(60)
def test_rows_that_are_lost_when_all_were_computed_are_one_clear_error(
    tmp_path: Path,
    url: str,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write(tmp_path / "in.jsonl", line("a"), line("b"))
    finish = RedisQueue.finish

    async def lose(queue: RedisQueue, batch_id: str) -> BatchState:
        state = await finish(queue, batch_id)
        with Redis.from_url(url) as client:
            client.delete(KEYS.outbox(batch_id))
        return state

    monkeypatch.setattr(RedisQueue, "finish", lose)
    assert cli.main(["run", str(file), "-o", "redis"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "Redis lost 2 of 2 rows" in said
    assert "run the same command again" in said


@pytest.mark.timeout(60)
def test_after_a_signal_a_worker_continues_what_was_sent(
    tmp_path: Path, url: str, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.make = lambda: CountingExecutor(signal_at=1)
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}") for n in range(10)))
    assert cli.main(["run", str(file), "-o", "redis"]) == 130
    said = capsys.readouterr()
    batch_id = said.out.splitlines()[0]
    (command,) = commands_in(said.err)
    assert command[:4] == ["headrace", "worker", "--redis", url]
    with worker(url):
        assert fetch(batch_id, tmp_path / "out.jsonl") == [f"r{n}" for n in range(10)]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("flags", [[], ["--dedupe"]])
def test_after_a_signal_in_the_fan_out_both_commands_together_finish_the_batch(
    tmp_path: Path,
    url: str,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
) -> None:
    def small(**settings: float) -> QueueSettings:
        return replace(queue_settings(**settings), max_depth=4)

    monkeypatch.setattr(run_to_redis, "queue_settings", small)
    stage.make = lambda: CountingExecutor(signal_at=1)
    file = write(tmp_path / "in.jsonl", *(line(f"r{n}", str(n % 3)) for n in range(10)))
    assert cli.main(["run", str(file), "-o", "redis", *flags]) == 130
    said = capsys.readouterr()
    batch_id = said.out.splitlines()[0]
    assert status_of(batch_id, capsys)["total"] is None
    compute, send = commands_in(said.err)
    assert compute[1] == "worker"
    with worker(url):
        assert cli.main(send[1:]) == 0
        assert fetch(batch_id, tmp_path / "out.jsonl") == [f"r{n}" for n in range(10)]


def commands_in(said: str) -> list[list[str]]:
    """The commands that the last line tells its reader to type."""
    (sentence,) = (each for each in said.splitlines() if each.startswith("headrace: interrupted"))
    return [
        shlex.split(each)
        for each in re.findall(r"with: (headrace .*?)(?= and, beside it|$)", sentence)
    ]
