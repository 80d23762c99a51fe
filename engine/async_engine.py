"""The engine for asyncio callers: one thread steps, one event loop waits.

Owns: the engine's thread, its inbox, and the futures of the callers. Must not know: jobs, text. The
core is synchronous and lives on its thread alone; requests go in through one queue, and what a step
finished comes out through one `call_soon_threadsafe`.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from engine.core import EngineCore
from engine.errors import EngineClosedError, EngineError, RequestError
from engine.logprobs import LogprobRows
from engine.request import Request
from engine.stats import EngineStats

__all__ = ["AsyncEngine", "OnTokens"]

_log = logging.getLogger(__name__)

_Command = Callable[[], None]

OnTokens = Callable[[list[int], LogprobRows | None], None]
"""Called on the event loop with the tokens that a step brought, and their log probabilities if the
request records them.
"""


@dataclass(slots=True, eq=False)
class _Watch:
    """A request whose tokens somebody wants as they come. Lives on the engine's thread."""

    request: Request
    on_tokens: OnTokens
    num_seen: int = 0

    def take(self) -> tuple[list[int], LogprobRows | None]:
        """What came since the last call."""
        request, start = self.request, self.num_seen
        self.num_seen = request.num_output_tokens
        rows = None
        if request.logprobs is not None:
            first = request.num_prompt_tokens + start
            rows = request.logprobs.rows().part(first, request.num_tokens)
        return request.output_token_ids[start:], rows


class AsyncEngine:
    """Runs requests for coroutines of the loop that called `start`.

    A request handed in belongs to the engine until `run` returns it.
    """

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._inbox: queue.SimpleQueue[_Command | None] = queue.SimpleQueue()
        self._futures: dict[str, asyncio.Future[Request]] = {}
        self._watches: dict[str, _Watch] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._is_closed = False
        self._num_rounds = 0

    @property
    def progress_counter(self) -> int:
        """Grows with every step and stands still while a step hangs. For lease renewal: a worker
        may renew only while this moves or the engine is idle.
        """
        return self._num_rounds

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued or running."""
        return not self._futures

    @property
    def failure(self) -> BaseException | None:
        """What killed the engine's thread; None while it lives."""
        return self._failure

    def start(self) -> None:
        """Start the thread. Call from the event loop that will call `run`."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, name="headrace-engine", daemon=True)
        self._thread.start()

    async def run(self, request: Request, on_tokens: OnTokens | None = None) -> Request:
        """Run one request to its end and return it, finished. `on_tokens` hears of every step that
        brought tokens and did not end the request.

        Cancelling the awaiting task aborts the request. Raises RequestError if it can never run,
        EngineClosedError if the engine closes first, EngineError if the engine has died.
        """
        self._check_alive()
        assert self._loop is not None, "start() was not called"
        assert request.request_id not in self._futures, f"{request.request_id} is running already"
        future: asyncio.Future[Request] = self._loop.create_future()
        self._futures[request.request_id] = future
        self._inbox.put(lambda: self._add(request, on_tokens))
        try:
            return await future
        finally:
            self._futures.pop(request.request_id, None)
            if future.cancelled():
                self.abort(request.request_id)

    def abort(self, request_id: str) -> None:
        """End a request soon; its `run` returns with finish reason ABORT. Unknown ids are fine."""
        self._inbox.put(lambda: self._abort(request_id))

    def stats(self) -> EngineStats:
        """A snapshot of the engine's counters."""
        return self._core.stats()

    async def close(self) -> None:
        """Stop after the step that runs now; requests left over raise EngineClosedError."""
        self._is_closed = True
        self._inbox.put(None)
        if self._thread is not None:
            try:
                await asyncio.to_thread(self._thread.join)
            except RuntimeError:  # the interpreter is ending and starts no threads any more
                self._thread.join()
        self._fail_all(EngineClosedError("the engine was closed"))
        self._core.shutdown()

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise EngineError(f"the engine has died: {self._failure!r}") from self._failure
        if self._is_closed:
            raise EngineClosedError("the engine was closed")

    def _serve(self) -> None:
        try:
            while self._drain_inbox():
                finished = self._core.step()
                self._num_rounds += 1
                if self._watches:
                    self._report()
                if finished:
                    self._post(self._deliver, finished)
        except BaseException as error:  # noqa: BLE001 - the thread must never die in silence
            _log.exception("the engine's thread died")
            self._failure = error
            self._post(self._fail_all, EngineError(f"the engine has died: {error!r}"))

    def _drain_inbox(self) -> bool:
        """Carry out what came in, waiting only if there is nothing to compute. False at the end."""
        while True:
            try:
                command = self._inbox.get(block=not self._core.has_work)
            except queue.Empty:
                return True
            if command is None:
                return False
            command()

    def _add(self, request: Request, on_tokens: OnTokens | None) -> None:
        try:
            self._core.add(request)
        except RequestError as error:
            self._post(self._fail, request.request_id, error)
            return
        if on_tokens is not None:
            self._watches[request.request_id] = _Watch(request, on_tokens)

    def _report(self) -> None:
        """Tell those who watch what the last step brought."""
        news: list[Callable[[], None]] = []
        for request_id, watch in list(self._watches.items()):
            if watch.request.finish_reason is not None:
                del self._watches[request_id]
            elif watch.request.num_output_tokens > watch.num_seen:
                news.append(partial(watch.on_tokens, *watch.take()))
        if news:
            self._post(_call_all, news)

    def _abort(self, request_id: str) -> None:
        self._watches.pop(request_id, None)
        request = self._core.abort(request_id)
        if request is not None:
            self._post(self._deliver, [request])

    def _post(self, callback: Callable[..., None], *arguments: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop closed without closing the engine: nobody waits any more
            _log.debug("a result came after the event loop was closed")

    def _deliver(self, finished: list[Request]) -> None:
        for request in finished:
            future = self._futures.get(request.request_id)
            if future is not None and not future.done():
                future.set_result(request)

    def _fail(self, request_id: str, error: Exception) -> None:
        future = self._futures.get(request_id)
        if future is not None and not future.done():
            future.set_exception(error)

    def _fail_all(self, error: Exception) -> None:
        for request_id in list(self._futures):
            self._fail(request_id, error)


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
