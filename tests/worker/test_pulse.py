import asyncio
from typing import Any

from worker.pulse import Pulse


class Engine:
    progress_counter = 0
    is_idle = False


async def beat(pulse: Pulse) -> None:
    task = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_loop_and_engine_must_both_move() -> None:
    engine: Any = Engine()
    pulse = Pulse(engine)
    assert not pulse.has_moved(), "the loop has not come round"
    await beat(pulse)
    assert pulse.has_moved()
    await beat(pulse)
    assert not pulse.has_moved(), "no step since"
    engine.progress_counter += 1
    assert pulse.has_moved()
    assert not pulse.has_moved(), "the loop has not come round since"


async def test_an_idle_engine_need_not_move() -> None:
    engine: Any = Engine()
    engine.is_idle = True
    pulse = Pulse(engine)
    for _ in range(3):
        await beat(pulse)
        assert pulse.has_moved()


async def test_a_stall_is_measured_from_the_last_step() -> None:
    engine: Any = Engine()
    pulse = Pulse(engine)
    await beat(pulse)
    await asyncio.sleep(0.15)
    await beat(pulse)
    assert pulse.stalled_s >= 0.15
    engine.progress_counter += 1
    await beat(pulse)
    assert pulse.stalled_s < 0.1
