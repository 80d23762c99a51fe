"""An event loop in a thread of its own, for callers that have none.

Owns: the thread, and the way of calls into it. Must not know: what is called. A notebook's own loop
is busy with the notebook, and a script has none: both call from outside, and wait.
"""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from worker.library.errors import HeadraceError

__all__ = ["Portal"]

T = TypeVar("T")
_Last = Callable[[], Coroutine[Any, Any, object]]

_JOIN_S = 10.0


class Portal:
    """Runs coroutines for other threads until it is closed, or nobody holds it any more. `last`
    runs before it ends, and must not hold it.
    """

    def __init__(self, name: str, last: _Last | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=_serve, args=(self._loop,), name=name, daemon=True)
        self._thread.start()
        self._last = last
        self._when_dropped = weakref.finalize(self, _end_unheld, self._loop, self._thread, last)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. An exception in the waiting thread (ctrl-C) cancels the work and is
        raised when that has ended.

        Raises HeadraceError if the portal is closed.
        """
        if self.is_closed:
            work.close()
            raise HeadraceError("it is closed; make a new one")
        return _call(self._loop, work)

    @property
    def is_closed(self) -> bool:
        return not (self._when_dropped.alive and self._thread.is_alive())

    def close(self) -> None:
        """Do the last work, cancel what still runs and end the thread. May be called again."""
        if self._when_dropped.detach():
            _end(self._loop, self._thread, self._last)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        for task in (tasks := asyncio.all_tasks(loop)):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _call(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    ended = threading.Event()
    future: Future[T] = asyncio.run_coroutine_threadsafe(_noted(work, ended), loop)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            ended.wait(_JOIN_S)
        raise


async def _noted(work: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    try:
        return await work
    finally:
        ended.set()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread, last: _Last | None) -> None:
    try:
        if last is not None and thread.is_alive():
            _call(loop, last())
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_JOIN_S)


def _end_unheld(*portal: Any) -> None:
    """The garbage collector comes in any thread, so also in one that must go on for the portal to
    end: its own, or one that the last work waits for.
    """
    if threading.current_thread() is threading.main_thread():
        _end(*portal)
    else:
        threading.Thread(target=_end, args=portal).start()
