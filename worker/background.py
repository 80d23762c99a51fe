"""Work in a thread that the process need not wait for.

Owns: loading a model while signals are still heard. Must not know: models. A thread cannot be
stopped, so one that is not waited for any more is left behind, and `is_any_left` tells the process
to end without it.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_background", "is_any_left"]

_NAME = "headrace-background"

T = TypeVar("T")


async def in_background(work: Callable[[], T]) -> T:
    """The result of `work()` from a thread of its own. Cancelling leaves the thread behind."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only if T allows it

    def serve() -> None:
        try:
            result, error = work(), None
        except BaseException as caught:  # noqa: BLE001 - carried to the loop, never lost
            result, error = None, caught
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    threading.Thread(target=serve, name=_NAME, daemon=True).start()
    return await future


def is_any_left() -> bool:
    """Whether such a thread still runs."""
    return any(thread.name == _NAME for thread in threading.enumerate())
