"""Jobs whose grammars are new: who is next, and that nobody else waits for them."""

import asyncio
import threading
import time
from dataclasses import replace

import pytest

from engine.errors import GrammarPendingError
from engine.structured_output.patience import Patience, current_patience
from jobs.queue import Lease
from tests.worker.doubles import fake_machine
from tests.worker.site import Site, chat
from worker.grammar_lanes import GrammarLanes, Lane
from worker.job import HeldJob


def job(batch_id: str, idx: int) -> HeldJob:
    lease = Lease(
        batch_id=batch_id,
        model="m",
        entry_id=f"{idx}-0",
        attempt=1,
        idx=idx,
        custom_id=f"job-{idx}",
        url="/v1/chat/completions",
        cost_tokens=1,
        body=b"{}",
        enqueued_ms=0,
        progress=b"",
        fence=1,
    )
    return HeldJob(lease=lease, leased_s=0.0, queue_s=0.0)


async def test_the_batch_that_has_used_the_least_is_next() -> None:
    order: list[str] = []
    gate = threading.Event()

    def prepare(one: HeldJob) -> None:
        gate.wait(10)
        order.append(f"{one.lease.batch_id}{one.lease.idx}")
        time.sleep(0.03 if one.lease.batch_id == "a" else 0.001)

    lane = Lane("test", prepare)
    jobs = [*(job("a", idx) for idx in range(4)), *(job("b", idx) for idx in range(3))]
    tasks = [asyncio.create_task(lane.pass_through(one)) for one in jobs]
    await asyncio.sleep(0.05)
    gate.set()
    await asyncio.gather(*tasks)
    assert order == ["a0", "b0", "b1", "b2", "a1", "a2", "a3"]
    assert not lane._used_s, "what was used is forgotten once nobody waits"
    lane.close()


async def test_only_what_is_still_open_goes_on_to_the_slow_lane() -> None:
    seen: list[tuple[str, int]] = []

    def quick(one: HeldJob) -> None:
        seen.append(("quick", one.lease.idx))
        if one.lease.idx == 0:
            one.refusal = object()  # type: ignore[assignment]

    lanes = GrammarLanes(quick, lambda one: seen.append(("full", one.lease.idx)))
    await asyncio.gather(*(lanes.translate(job("a", idx)) for idx in range(2)))
    assert sorted(seen) == [("full", 1), ("quick", 0), ("quick", 1)]
    lanes.close()


async def test_a_closed_lane_lets_everybody_through_untouched() -> None:
    lanes = GrammarLanes(lambda one: pytest.fail("closed"), lambda one: pytest.fail("closed"))
    lanes.close()
    await asyncio.wait_for(lanes.translate(job("a", 0)), 5)


class SlowConstrainer:
    """Answers that ask for SLOW need a grammar that takes a second, once."""

    def __init__(self, inner: object) -> None:
        self.factory = inner.factory  # type: ignore[attr-defined]

    def constrain(self, request: object, prompt: list[int]) -> None:
        if b"SLOW" in bytes(prompt):
            if current_patience() is not Patience.FULL:
                raise GrammarPendingError("later")
            time.sleep(0.6)


async def test_rows_pass_a_burst_of_expensive_grammars(site: Site) -> None:
    machine = fake_machine(max_num_seqs=4)
    translator = machine.translator
    slow = SlowConstrainer(translator.constrainer)
    machine = replace(machine, translator=replace(translator, constrainer=slow))  # type: ignore[arg-type]
    # More of them than the worker's window holds.
    await site.submit(*(chat(f"SLOW {i}", max_tokens=1) for i in range(9)), batch_id="burst")
    async with site.worker(machine):
        await asyncio.sleep(0.3)
        await site.submit(*(chat(f"text {i}", max_tokens=2) for i in range(20)), batch_id="plain")
        status = await site.finished("plain")
        assert status.num_ok == 20
        assert (await site.status("burst")).num_finished < 6
        await site.finished("burst")
    assert (await site.status("burst")).num_ok == 9
