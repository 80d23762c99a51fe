import asyncio
import threading

import pytest

from worker.background import in_background, is_any_left


async def test_the_result_comes_back() -> None:
    assert await in_background(lambda: threading.current_thread().name) == "headrace-background"


async def test_a_failure_comes_back() -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await in_background(fail)


async def test_a_cancelled_wait_leaves_the_thread_behind() -> None:
    gate = threading.Event()
    task = asyncio.create_task(in_background(gate.wait))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert is_any_left()
    gate.set()
    async with asyncio.timeout(5):
        while is_any_left():
            await asyncio.sleep(0.01)
