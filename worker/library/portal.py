"""An event loop in a thread of its own, for callers that have none.

Owns: the thread, and the way of calls into it. Must not know: what is called. A notebook's own loop
is busy with the notebook, and a script has none: both call from outside, and wait.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from worker.library.errors import HeadraceError

__all__ = ["Portal"]

T = TypeVar("T")

_JOIN_S = 10.0


class Portal:
    """Runs coroutines for other threads until closed."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. An exception in the waiting thread (ctrl-C) cancels the work and is
        raised when that has ended.

        Raises HeadraceError if the portal is closed.
        """
        if self.is_closed:
            work.close()
            raise HeadraceError("it is closed; make a new one")
        ended = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_noted(work, ended), self._loop)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
                ended.wait(_JOIN_S)
            raise

    @property
    def is_closed(self) -> bool:
        return self._is_closed or not self._thread.is_alive()

    def close(self) -> None:
        """Cancel what still runs and end the thread. May be called again."""
        if self.is_closed:
            return
        self._is_closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)

    def _serve(self) -> None:
        loop = self._loop
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            for task in (tasks := asyncio.all_tasks(loop)):
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()


async def _noted(work: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    try:
        return await work
    finally:
        ended.set()
