import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from jobs.errors import InputError
from jobs.producers.windows import Item
from jobs.queue import FinishedRow, NewJob, Outcome
from schemas.result import ResultRow
from tests.worker.doubles import fake_machine
from tests.worker.site import chat
from tests.worker.test_run import CountingExecutor
from worker import local_jobs
from worker.local_jobs import LocalJobs
from worker.machine import Machine
from worker.metrics import WorkerMetrics


def job(idx: int, **parameters: object) -> NewJob:
    return NewJob(
        idx=idx,
        custom_id=f"job-{idx}",
        model="m",
        url="/v1/chat/completions",
        cost_tokens=20,
        body=json.dumps(chat(f"text {idx}", **parameters)).encode(),
    )


def finished(idx: int) -> FinishedRow:
    row = ResultRow(idx=idx, status_code=400, error_message="no")
    return FinishedRow(idx=idx, custom_id=None, outcome=Outcome.ERR, payload=row.encode())


@dataclass
class Given:
    """A producer of given chunks. `num_read` says how far it was read."""

    given: list[list[Item]]
    error: Exception | None = None
    num_read: int = field(default=0)

    def chunks(self) -> Iterator[list[Item]]:
        for chunk in self.given:
            self.num_read += 1
            yield chunk
        if self.error is not None:
            raise self.error


def local_jobs_of(machine: Machine, producer: Given) -> LocalJobs:
    machine.engine.start()
    return LocalJobs(machine, WorkerMetrics("m"), producer)


async def all_rows(jobs: LocalJobs) -> list[ResultRow]:
    rows: list[ResultRow] = []
    while fresh := await jobs.next_rows():
        rows += fresh
    return rows


async def test_every_item_gets_one_row() -> None:
    machine = fake_machine()
    items: list[Item] = [finished(n) if n % 7 == 0 else job(n, max_tokens=2) for n in range(300)]
    jobs = local_jobs_of(machine, Given([items[:100], items[100:]]))
    assert jobs.total is None
    rows = await all_rows(jobs)
    assert sorted(row.idx for row in rows) == list(range(300))
    assert {row.content for row in rows} == {"ab", None}
    assert (jobs.total, jobs.num_tokens) == (300, 2 * sum(n % 7 != 0 for n in range(300)))
    assert await jobs.next_rows() == []
    await machine.engine.close()


async def test_nothing_runs_ahead_of_a_reader_who_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_jobs, "_MAX_ROWS_WAITING", 20)
    machine = fake_machine(executor := CountingExecutor())
    producer = Given([[job(n, max_tokens=1)] * 10 for n in range(100)])
    jobs = local_jobs_of(machine, producer)
    await jobs.next_rows()
    await asyncio.sleep(0.3)
    assert producer.num_read < 20
    assert len(executor.seen) < 60
    await jobs.close()
    known = Given([[finished(n)] * 10 for n in range(100)])
    jobs = LocalJobs(machine, WorkerMetrics("m"), known)
    await jobs.next_rows()
    await asyncio.sleep(0.1)
    assert known.num_read < 20
    assert len(await all_rows(jobs)) > 900
    await machine.engine.close()


async def test_an_input_that_breaks_off_gives_its_rows_first() -> None:
    machine = fake_machine()
    jobs = local_jobs_of(machine, Given([[finished(0)]], error=InputError("torn")))
    assert [row.idx for row in await jobs.next_rows()] == [0]
    with pytest.raises(InputError, match="torn"):
        await jobs.next_rows()
    await jobs.close()
    await machine.engine.close()


async def test_closing_before_the_first_row_is_fine() -> None:
    machine = fake_machine()
    jobs = local_jobs_of(machine, Given([]))
    await jobs.close()
    jobs = LocalJobs(machine, WorkerMetrics("m"), Given([[job(0, max_tokens=200, n=3)]]))
    waiting = asyncio.create_task(jobs.next_rows())
    await asyncio.sleep(0.05)
    waiting.cancel()
    await jobs.close()
    async with asyncio.timeout(5):
        while not machine.engine.is_idle:
            await asyncio.sleep(0.01)
    await machine.engine.close()


async def test_rows_that_are_computed_are_told_to_who_keeps_them() -> None:
    machine = fake_machine()
    machine.engine.start()
    kept: list[ResultRow] = []
    producer = Given([[finished(0), job(1, max_tokens=1)]])
    jobs = LocalJobs(machine, WorkerMetrics("m"), producer, on_computed=kept.append)
    assert len(await all_rows(jobs)) == 2
    assert [row.idx for row in kept] == [1]
    await machine.engine.close()
