"""What the queue promises, seen from a running worker: cancel, deadlines, retries, one computation
for many."""

import asyncio
import json
import time
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from engine.step import StepPlan, StepResult
from jobs.queue import BatchSpec, NewJob
from tests.worker.doubles import ScriptedExecutor, fake_machine
from tests.worker.site import Site, chat

RENEWALS_PER_LEASE = 4
SLACK_S = 0.6  # the machine may be busy


class SlowSteps(ScriptedExecutor):
    def submit(self, plan: StepPlan) -> StepResult:
        time.sleep(0.02)
        return super().submit(plan)


class FailsAtFirst(ScriptedExecutor):
    """The device fails on every step with a certain text, so many times."""

    def __init__(self, num_failures: int) -> None:
        super().__init__()
        self.num_left = num_failures
        self.failing_text = b"\xff never"

    def submit(self, plan: StepPlan) -> StepResult:
        if self.num_left and any(b"FLAKY" in bytes(new.token_ids) for new in plan.new_requests):
            self.num_left -= 1
            raise RuntimeError("the device hiccups")
        return super().submit(plan)


async def until_running(site: Site, executor: ScriptedExecutor) -> None:
    async with asyncio.timeout(20):
        while len(executor.num_rows) < 3:
            await asyncio.sleep(0.01)


async def test_a_cancel_reaches_running_requests_within_one_renewal(site: Site) -> None:
    executor = SlowSteps()
    await site.submit(*(chat(f"text {number}", max_tokens=200) for number in range(4)))
    async with site.worker(fake_machine(executor)):
        await until_running(site, executor)
        started = time.monotonic()
        await site.queue.cancel("batch")
        status = await site.finished()
        took_s = time.monotonic() - started
    assert status.num_cancelled == 4
    assert took_s < site.lease_s / RENEWALS_PER_LEASE + SLACK_S


async def test_a_running_job_is_aborted_at_its_deadline(site: Site) -> None:
    executor = SlowSteps()
    await submit_with_deadline(site, 400, "late", "in time")
    async with site.worker(fake_machine(executor)):
        status = await site.finished()
    rows = await site.rows()
    assert (status.num_expired, status.num_ok) == (1, 1)
    assert (rows[0].error_code, rows[0].status_code) == ("batch_expired", None)
    assert rows[1].status_code == 200
    assert len(executor.num_rows) < 200, "it ran to its end"


async def test_a_job_whose_deadline_is_over_before_its_start_never_runs(site: Site) -> None:
    executor = ScriptedExecutor()
    await submit_with_deadline(site, 1, "late", "in time")
    await asyncio.sleep(0.01)
    async with site.worker(fake_machine(executor)):
        await site.finished()
    assert (await site.rows())[0].error_code == "batch_expired"
    assert sum(executor.num_rows) == 2, "only the other one's two tokens were computed"


async def submit_with_deadline(site: Site, ttl_ms: int, *texts: str) -> None:
    """A long request with a deadline, and a short one without."""
    await site.queue.create_batch(BatchSpec(batch_id="batch"))
    lengths = (200, 2)
    jobs = [
        NewJob(
            idx=idx,
            custom_id=f"job-{idx}",
            model="m",
            url="/v1/chat/completions",
            cost_tokens=50,
            body=json.dumps(chat(text, max_tokens=lengths[idx])).encode(),
            ttl_ms=ttl_ms if idx == 0 else None,
        )
        for idx, text in enumerate(texts)
    ]
    await site.queue.enqueue("batch", 0, jobs, is_final=True)


async def test_a_device_that_fails_for_a_while_costs_attempts_not_rows(site: Site) -> None:
    await site.submit(chat("FLAKY", max_tokens=3))
    executor = FailsAtFirst(1)
    async with site.worker(fake_machine(executor)) as worker:
        await site.finished()
    (row,) = (await site.rows()).values()
    assert (row.status_code, row.attempt, row.content) == (200, 2, "abc")
    (record,) = json.loads(row.attempts_json or "")
    assert record["cause"] == "internal_error"
    assert "hiccups" in record["message"]
    assert record["worker"] == worker.machine.consumer
    assert worker.metric("jobs_retried_total") == 1


async def test_a_request_that_is_wrong_is_never_tried_again(site: Site) -> None:
    await site.submit(chat("BOOM"), chat(temperature=99), chat("x" * 500))
    async with site.worker(fake_machine()) as worker:
        await site.finished()
    rows = await site.rows()
    assert {(row.status_code, row.attempt, row.attempts_json) for row in rows.values()} == {
        (400, 1, None)
    }
    assert worker.metric("jobs_leased_total") == 3


@pytest.mark.parametrize("num_workers", [1, 2])
async def test_twins_are_computed_once_by_all_workers_together(
    site: Site, num_workers: int
) -> None:
    await site.queue.create_batch(BatchSpec(batch_id="batch"))
    body = json.dumps(chat("same", max_tokens=4, temperature=0)).encode()
    jobs = [
        NewJob(
            idx=idx,
            custom_id=f"job-{idx}",
            model="m",
            url="/v1/chat/completions",
            cost_tokens=50,
            body=body,
            answer_hash="same",
        )
        for idx in range(60)
    ]
    await site.queue.enqueue("batch", 0, jobs, is_final=True)
    executors = [ScriptedExecutor() for _ in range(num_workers)]
    machines = [fake_machine(executor, max_num_seqs=4) for executor in executors]
    async with AsyncExitStack() as stack:
        for machine in machines:
            await stack.enter_async_context(site.worker(machine))
        await site.finished()
    rows = await site.rows()
    assert Counter(row.deduped_from for row in rows.values()) == {None: 1, 0: 59}
    assert {row.content for row in rows.values()} == {"abcd"}
    assert {row.custom_id for row in rows.values()} == {f"job-{idx}" for idx in range(60)}
    assert sum(sum(executor.num_rows) for executor in executors) == 4
