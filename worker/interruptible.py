"""Work that a signal ends.

Owns: the race between some work and SIGINT or SIGTERM. Must not know: the work.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from worker.errors import InterruptedRun
from worker.shutdown import Shutdown

__all__ = ["interruptible"]

T = TypeVar("T")


async def interruptible(work: Coroutine[Any, Any, T], message: str) -> T:
    """The result of `work`. A signal cancels it and raises InterruptedRun with `message`."""
    shutdown = Shutdown()
    with shutdown.handling_signals():
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(shutdown.stopping.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            task.cancel()
            await asyncio.wait([task])
        finally:
            task.cancel()
            stopping.cancel()
    assert shutdown.signal_number is not None
    raise InterruptedRun(message, signal_number=shutdown.signal_number)
