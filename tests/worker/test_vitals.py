from typing import Any

import pytest

from jobs.retrying import Retrying
from worker import vitals as module
from worker.shutdown import Shutdown
from worker.vitals import Vitals


class Engine:
    progress_counter = 0
    is_idle = True
    failure: BaseException | None = None


class Clock:
    now_s = 100.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", lambda: clock.now_s)
    return clock


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    return Vitals(Retrying(), Shutdown(), stall_s=10)


def loaded(vitals: Vitals) -> Engine:
    engine: Any = Engine()
    vitals.loaded(engine)
    return engine


async def test_a_process_that_loads_is_healthy_and_not_ready(vitals: Vitals) -> None:
    assert vitals.health() is None
    assert "not loaded" in (vitals.ready() or "")


async def test_a_loaded_idle_process_is_ready(vitals: Vitals, clock: Clock) -> None:
    loaded(vitals)
    clock.now_s += 1000
    assert vitals.ready() is None


async def test_an_engine_without_a_step_is_unhealthy(vitals: Vitals, clock: Clock) -> None:
    engine = loaded(vitals)
    engine.is_idle = False
    assert vitals.health() is None
    clock.now_s += 11
    assert "no step for 11 s" in (vitals.health() or "")
    engine.progress_counter += 1
    assert vitals.health() is None
    assert vitals.ready() is None


async def test_a_dead_engine_is_unhealthy(vitals: Vitals) -> None:
    loaded(vitals).failure = MemoryError("gone")
    assert "died" in (vitals.health() or "")
    assert "died" in (vitals.ready() or "")


async def test_a_stopping_process_is_not_ready() -> None:
    shutdown = Shutdown()
    vitals = Vitals(Retrying(), shutdown, stall_s=10)
    loaded(vitals)
    shutdown.stop()
    assert "stopping" in (vitals.ready() or "")
    assert vitals.health() is None


async def test_a_process_without_redis_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retrying, "is_waiting", True)
    vitals = Vitals(Retrying(), Shutdown(), stall_s=10)
    loaded(vitals)
    assert "Redis" in (vitals.ready() or "")
