import asyncio
import threading
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from jobs.queue import Lease, LeaseLoss, LostLease
from worker.job import HeldJob
from worker.leases import LeaseKeeper
from worker.pulse import Pulse

LEASE_S = 0.4


class Engine:
    def __init__(self) -> None:
        self.progress_counter = 0
        self.is_idle = True


class Queue:
    """Records renewals, and the thread they came from."""

    def __init__(self) -> None:
        self.renewals: list[tuple[list[int], list[int]]] = []
        self.threads: set[str] = set()
        self.lost: list[LostLease] = []
        self.failures = 0

    async def renew(
        self, _consumer: str, leases: Sequence[Lease], started: Collection[Lease] = ()
    ) -> list[LostLease]:
        self.threads.add(threading.current_thread().name)
        if self.failures:
            self.failures -= 1
            raise RedisConnectionError("away")
        self.renewals.append(([each.idx for each in leases], [each.idx for each in started]))
        return self.lost


def job(idx: int, *, is_started: bool = False) -> HeldJob:
    lease = Lease(
        batch_id="b",
        model="m",
        entry_id=f"1-{idx}",
        attempt=1,
        idx=idx,
        custom_id=None,
        url="/v1/chat/completions",
        cost_tokens=1,
        body=b"{}",
        enqueued_ms=0,
    )
    return HeldJob(lease=lease, leased_s=0.0, queue_s=0.0, is_started=is_started)


class Keeping:
    def __init__(self) -> None:
        self.engine = Engine()
        self.queue = Queue()
        self.lost: list[LostLease] = []
        engine: Any = self.engine
        self.pulse = Pulse(engine)
        self.keeper = LeaseKeeper(
            self._connect,
            self.pulse,
            consumer="me",
            lease_s=LEASE_S,
            on_lost=self.lost.extend,
        )

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Any]:
        yield self.queue

    @asynccontextmanager
    async def running(self, *, is_beating: bool = True) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.keeper.run())]
        if is_beating:
            tasks.append(asyncio.create_task(self.pulse.run()))
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def keeping() -> Keeping:
    return Keeping()


async def test_held_leases_are_renewed_several_times_in_their_life(keeping: Keeping) -> None:
    keeping.keeper.hold(job(1, is_started=True))
    keeping.keeper.hold(job(2))
    async with keeping.running():
        await asyncio.sleep(2 * LEASE_S)
    assert len(keeping.queue.renewals) >= 4
    assert keeping.queue.renewals[0] == ([1, 2], [1])
    assert keeping.queue.threads == {"headrace-leases"}


async def test_a_dropped_lease_is_not_renewed(keeping: Keeping) -> None:
    first, second = job(1), job(2)
    keeping.keeper.hold(first)
    keeping.keeper.hold(second)
    keeping.keeper.drop(first)
    async with keeping.running():
        await asyncio.sleep(LEASE_S)
    assert keeping.queue.renewals
    assert {tuple(leases) for leases, _ in keeping.queue.renewals} == {(2,)}


async def test_a_hanging_engine_lets_leases_lapse(keeping: Keeping) -> None:
    keeping.keeper.hold(job(1))
    async with keeping.running():
        await asyncio.sleep(LEASE_S)
        keeping.engine.is_idle = False
        await asyncio.sleep(LEASE_S / 2)
        before = len(keeping.queue.renewals)
        await asyncio.sleep(LEASE_S)
        assert len(keeping.queue.renewals) == before
        keeping.engine.progress_counter += 1
        await asyncio.sleep(LEASE_S / 2)
        assert len(keeping.queue.renewals) == before + 1


async def test_a_blocked_event_loop_lets_leases_lapse(keeping: Keeping) -> None:
    keeping.keeper.hold(job(1))
    async with keeping.running(is_beating=False):
        await asyncio.sleep(LEASE_S)
        before = len(keeping.queue.renewals)
        await asyncio.sleep(LEASE_S)
    assert before <= 1
    assert len(keeping.queue.renewals) == before


async def test_lost_leases_are_told_on_the_event_loop(keeping: Keeping) -> None:
    lost = job(1)
    keeping.keeper.hold(lost)
    keeping.queue.lost = [LostLease(lease=lost.lease, loss=LeaseLoss.FENCED)]
    async with keeping.running():
        await asyncio.sleep(LEASE_S)
    assert {entry.loss for entry in keeping.lost} == {LeaseLoss.FENCED}


async def test_a_failed_renewal_is_tried_again_soon(keeping: Keeping) -> None:
    keeping.queue.failures = 2
    keeping.keeper.hold(job(1))
    async with keeping.running():
        await asyncio.sleep(2 * LEASE_S)
    assert keeping.queue.failures == 0
    assert keeping.queue.renewals


async def test_a_bug_in_the_thread_ends_the_worker(keeping: Keeping) -> None:
    async def broken(*_: Any, **__: Any) -> list[LostLease]:
        raise TypeError("a bug")

    keeping.queue.renew = broken  # type: ignore[method-assign]
    keeping.keeper.hold(job(1))
    beating = asyncio.create_task(keeping.pulse.run())
    with pytest.raises(TypeError, match="a bug"):
        await asyncio.wait_for(keeping.keeper.run(), 5)
    beating.cancel()
