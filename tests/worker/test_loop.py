import asyncio
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from engine.errors import DeviceLostError, EngineError
from engine.step import StepPlan, StepResult
from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.queue import BatchState
from jobs.server import connect
from tests.worker.doubles import ScriptedExecutor, fake_machine
from tests.worker.site import RunningWorker, Site, chat
from worker.errors import first_cause, sentence_for


async def test_every_job_ends_in_exactly_one_row(site: Site) -> None:
    good = [chat(f"text {number}", max_tokens=3) for number in range(40)]
    bad = [
        chat("BOOM"),
        chat("BUG"),
        chat(temperature=99),
        chat("x" * 500),
        chat(n=3, max_tokens=2),
    ]
    await site.submit(*good, *bad)
    async with site.worker(fake_machine()) as worker:
        status = await site.finished()
    rows = await site.rows()
    assert sorted(rows) == list(range(45))
    assert [rows[idx].status_code for idx in range(40, 45)] == [400, 500, 400, 400, 200]
    assert {rows[idx].content for idx in range(40)} == {"abc"}
    assert {rows[idx].custom_id for idx in range(40)} == {f"job-{idx}" for idx in range(40)}
    assert (status.num_ok, status.num_err) == (41, 4)
    assert len(json.loads(rows[44].response_json or "")["choices"]) == 3
    assert worker.metric("jobs_leased_total") == 47, "a bug of ours is tried three times"
    assert worker.metric("jobs_retried_total") == 2
    assert rows[41].attempt == 3
    assert worker.metric("jobs_finished_total", outcome="ok") == 41
    assert worker.metric("jobs_in_flight") == 0


async def test_jobs_run_together(site: Site) -> None:
    executor = ScriptedExecutor()
    await site.submit(*(chat(f"text {number}", max_tokens=20) for number in range(8)))
    async with site.worker(fake_machine(executor, max_num_seqs=8)):
        await site.finished()
    assert max(executor.num_rows) > 4


async def test_the_engine_sees_no_more_jobs_than_it_can_run_soon(site: Site) -> None:
    executor = ScriptedExecutor()
    executor.gate.clear()
    await site.submit(*(chat(f"text {number}", max_tokens=2) for number in range(100)))
    async with site.worker(fake_machine(executor, max_num_seqs=4)) as worker:
        async with asyncio.timeout(20):
            while worker.metric("jobs_in_flight") < 8:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert worker.metric("jobs_in_flight") == 8
        executor.gate.set()
        await site.finished()


async def test_two_workers_share_a_batch(site: Site) -> None:
    await site.submit(*(chat(f"text {number}", max_tokens=5) for number in range(200)))
    first, second = fake_machine(max_num_seqs=4), fake_machine(max_num_seqs=4)
    async with site.worker(first), site.worker(second):
        await site.finished()
    workers = {row.worker for row in (await site.rows()).values()}
    assert workers == {first.consumer, second.consumer}


async def test_a_worker_takes_only_jobs_for_its_models(site: Site) -> None:
    await site.submit(chat(max_tokens=1), batch_id="other", model="other")
    await site.submit(chat(max_tokens=1))
    async with site.worker(fake_machine()):
        await site.finished()
        await asyncio.sleep(0.1)
    assert (await site.status("other")).num_finished == 0


async def test_a_failing_request_fails_alone(site: Site) -> None:
    bodies = [chat(f"text {number}", max_tokens=4) for number in range(10)]
    await site.submit(*bodies, chat("KILL-STEP", max_tokens=4))
    async with site.worker(fake_machine()):
        await site.finished()
    rows = await site.rows()
    assert [rows[idx].status_code for idx in range(11)] == [200] * 10 + [500]
    assert rows[10].error_code == "internal_error"
    causes = [each["cause"] for each in json.loads(rows[10].attempts_json or "")]
    assert causes == ["internal_error", "internal_error"]
    (letter,) = await site.connection.redis.xrange(site.connection.keys.dead)
    assert b"KILL-STEP" in letter[1][b"j"]


async def test_a_stopped_worker_lets_running_jobs_finish(site: Site) -> None:
    executor = ScriptedExecutor()
    executor.gate.clear()
    await site.submit(*(chat(f"text {number}", max_tokens=3) for number in range(4)))
    async with site.worker(fake_machine(executor)) as worker:
        await wait_until_held(worker, 4)
        worker.shutdown.stop()
        await asyncio.sleep(0.1)
        executor.gate.set()
    assert (await site.status()).num_ok == 4


async def test_a_stopped_worker_gives_back_what_has_not_started(site: Site) -> None:
    executor = ScriptedExecutor()
    executor.gate.clear()
    await site.submit(*(chat(f"text {number}", max_tokens=3) for number in range(40)))
    async with site.worker(fake_machine(executor, max_num_seqs=2), drain_s=20) as worker:
        await wait_until_held(worker, 4)
        worker.shutdown.stop()
        await asyncio.sleep(0.2)
        async with site.worker(fake_machine()):
            await until_finished(site, 30)
            executor.gate.set()
            await site.finished()
    rows = await site.rows()
    assert {row.attempt for row in rows.values()} == {1}


async def test_a_forced_worker_hands_its_tokens_over(site: Site) -> None:
    executor = StopAfter(5)
    await site.submit(chat("text", max_tokens=12))
    async with site.worker(fake_machine(executor), drain_s=20) as worker:
        async with asyncio.timeout(20):
            await asyncio.to_thread(executor.is_waiting.wait)
        worker.shutdown.stop()
        worker.shutdown.forced.set()
        await asyncio.sleep(0.1)
        executor.gate.set()
        executor.limit = 10**6
    status = await site.status()
    assert status.num_finished == 0
    second = ScriptedExecutor()
    async with site.worker(fake_machine(second)):
        await site.finished()
    (row,) = (await site.rows()).values()
    assert row.content == "abcdefghijkl"
    assert row.completion_tokens == 12
    assert row.attempt == 1
    assert len(second.num_rows) < 12, "the first worker's tokens were computed again"


async def test_a_cancelled_batch_ends_running_jobs(site: Site) -> None:
    executor = StopAfter(3)
    await site.submit(*(chat(f"text {number}", max_tokens=100) for number in range(3)))
    async with site.worker(fake_machine(executor)):
        async with asyncio.timeout(20):
            await asyncio.to_thread(executor.is_waiting.wait)
        await site.queue.cancel("batch")
        await asyncio.sleep(site.lease_s)
        executor.limit = 10**6
        executor.gate.set()
        status = await site.finished()
    assert status.num_cancelled == 3
    assert {row.error_code for row in (await site.rows()).values()} == {"batch_cancelled"}


async def test_a_cancelled_batch_ends_waiting_jobs(site: Site) -> None:
    await site.submit(*(chat(f"text {number}") for number in range(50)))
    await site.queue.cancel("batch")
    async with site.worker(fake_machine()):
        status = await site.finished()
    assert status.num_cancelled == 50
    assert status.state in (BatchState.FINALIZING, BatchState.CANCELLED)


async def test_long_jobs_keep_their_leases(site: Site) -> None:
    executor = SlowSteps(0.25)
    await site.submit(chat("text", max_tokens=20))
    async with site.worker(fake_machine(executor)):
        await site.finished()
    (row,) = (await site.rows()).values()
    assert (row.attempt, row.status_code) == (1, 200)
    assert row.e2e_s is not None
    assert row.e2e_s > 2 * site.lease_s


async def test_a_worker_whose_device_hangs_loses_its_jobs_to_another(site: Site) -> None:
    executor = ScriptedExecutor()
    executor.gate.clear()
    await site.submit(*(chat(f"text {number}", max_tokens=3) for number in range(3)))
    async with site.worker(fake_machine(executor), drain_s=0) as hanging:
        await wait_until_held(hanging, 3)
        async with site.worker(fake_machine()) as healthy:
            await site.finished(timeout_s=10)
            executor.gate.set()
            await asyncio.sleep(0.2)
    rows = await site.rows()
    assert {row.worker for row in rows.values()} == {healthy.machine.consumer}
    assert {row.attempt for row in rows.values()} == {2}
    lost = hanging.metrics.registry.get_sample_value
    refused = sum(
        lost("headrace:commits_refused_total", {"reply": reply}) or 0
        for reply in ("GONE", "FENCED")
    )
    dropped = sum(
        lost("headrace:leases_lost_total", {"cause": cause}) or 0 for cause in ("gone", "fenced")
    )
    assert refused + dropped == 3


async def test_a_server_that_lost_its_latest_writes_may_give_the_same_delivery_again(
    site: Site,
) -> None:
    executor = ScriptedExecutor()
    executor.gate.clear()
    bodies = [chat(f"text {number}", max_tokens=3) for number in range(3)]
    await site.submit(*bodies)
    async with site.worker(fake_machine(executor)) as worker:
        await wait_until_held(worker, 3)
        await site.queue.delete_batch("batch")
        await site.submit(*bodies)
        stream = site.queue.keys.stream("batch", "m")
        async with asyncio.timeout(20):
            while (await site.connection.redis.xpending(stream, "g"))["pending"] < 3:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        executor.gate.set()
        await site.finished()
    rows = (await site.rows()).values()
    assert {(row.status_code, row.attempt) for row in rows} == {(200, 1)}


async def test_a_dead_engine_ends_the_worker(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = fake_machine()

    def die(*_: object) -> None:
        raise MemoryError("out of memory")

    await site.submit(*(chat(f"text {number}") for number in range(3)))
    monkeypatch.setattr(machine.engine._core, "step", die)

    async def run_until_dead() -> None:
        async with site.worker(machine) as worker:
            assert worker.task is not None
            await asyncio.wait([worker.task], timeout=10)

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_until_dead()
    assert caught.value.subgroup(EngineError) is not None


async def test_a_lost_device_ends_the_worker_and_its_jobs_run_elsewhere(site: Site) -> None:
    """What had not started goes back at once; the rest when its lease runs out."""
    executor = ScriptedExecutor()
    submit = executor.submit

    def lose_device(plan: StepPlan) -> StepResult:
        if len(executor.num_rows) >= 3:
            raise DeviceLostError("the device failed for good: CUDA error: misaligned address")
        return submit(plan)

    executor.submit = lose_device  # type: ignore[method-assign]
    machine = fake_machine(executor, max_num_seqs=1)
    await site.submit(*(chat(f"text {number}", max_tokens=9) for number in range(30)))

    async def run_until_dead() -> None:
        async with site.worker(machine) as worker:
            assert worker.task is not None
            await asyncio.wait([worker.task], timeout=10)

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_until_dead()
    assert "misaligned address" in (sentence_for(first_cause(caught.value)) or "")
    async with site.worker(fake_machine()):
        await site.finished()
    rows = (await site.rows()).values()
    assert {row.status_code for row in rows} == {200}
    attempts = [row.attempt for row in rows]
    assert attempts.count(1) > 10, "what had not started must not count as tried"


async def test_a_worker_can_be_stopped_while_its_server_is_away(
    tmp_path: Path,
) -> None:
    binary = find_server_binary()
    assert binary is not None
    with EmbeddedServer.start(tmp_path, binary=binary) as own_server:
        client = connect(own_server.url)
        site = Site(client)
        async with site.worker(fake_machine()) as worker:
            await asyncio.sleep(0.1)
            own_server.close()
            await asyncio.sleep(0.2)
            worker.shutdown.stop()
            assert worker.task is not None
            await asyncio.wait([worker.task], timeout=15)
            assert worker.task.done()
        await client.aclose()


async def test_a_worker_goes_on_when_its_server_is_back(
    tmp_path: Path,
) -> None:
    binary = find_server_binary()
    assert binary is not None
    with EmbeddedServer.start(tmp_path, binary=binary) as first_server:
        url = first_server.url
        client = connect(url)
        site = Site(client)
        await site.submit(*(chat(f"text {number}", max_tokens=20) for number in range(200)))
        async with site.worker(fake_machine(SlowSteps(0.002))):
            await until_finished(site, 20)
            os.kill(first_server.pid, signal.SIGKILL)
            await asyncio.sleep(0.3)
            second_server = restart(binary, url, tmp_path)
            status = await site.finished()
        assert status.num_ok == 200
        await client.aclose()
        second_server.terminate()
        second_server.wait(10)


def restart(binary: Path, url: str, folder: Path) -> subprocess.Popen[bytes]:
    """The same data on the same socket, without the lock and the address file."""
    socket = url.removeprefix("unix://").partition("?")[0]
    Path(socket).unlink(missing_ok=True)
    command = [str(binary), "--port", "0", "--unixsocket", socket, "--appendonly", "yes"]
    return subprocess.Popen(
        [*command, "--dir", str(folder / "redis"), "--save", ""],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def wait_until_held(worker: RunningWorker, num_jobs: int) -> None:
    """Wait until a worker holds `num_jobs` jobs and has had time to start them."""
    async with asyncio.timeout(20):
        while worker.metric("jobs_in_flight") < num_jobs:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)


async def until_finished(site: Site, num_rows: int) -> None:
    async with asyncio.timeout(20):
        while (await site.status()).num_finished < num_rows:
            await asyncio.sleep(0.01)


class StopAfter(ScriptedExecutor):
    """Hangs before step `limit` + 1 until the gate is opened."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.is_waiting = threading.Event()
        self.gate.clear()

    def submit(self, plan: StepPlan) -> StepResult:
        if len(self.num_rows) >= self.limit:
            self.is_waiting.set()
            self.gate.wait()
        is_open = self.gate.is_set()
        self.gate.set()
        try:
            return super().submit(plan)
        finally:
            if not is_open:
                self.gate.clear()


class SlowSteps(ScriptedExecutor):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def submit(self, plan: StepPlan) -> StepResult:
        time.sleep(self.seconds)
        return super().submit(plan)
