import asyncio
import os
import signal

import pytest

from worker.errors import InterruptedRun
from worker.interruptible import interruptible


async def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert await interruptible(work(), "never") == 7


async def test_work_that_fails_fails() -> None:
    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await interruptible(work(), "never")


async def test_a_signal_cancels_the_work_and_says_how_to_go_on() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        finally:
            ended.append("cleanly")

    with pytest.raises(InterruptedRun, match="go on like this") as caught:
        await interruptible(work(), "go on like this")
    assert caught.value.exit_code == 143
    assert ended == ["cleanly"]
