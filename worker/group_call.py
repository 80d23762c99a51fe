"""Many coroutines, one round trip.

Owns: joining calls that arrive while another is under way into the next one. Must not know: what is
called. This is how commits are pipelined: nobody waits for a timer, and a busy worker sends few,
large batches.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["GroupCall"]

Item = TypeVar("Item")
Reply = TypeVar("Reply")


class GroupCall(Generic[Item, Reply]):
    """Collects items and hands them to `send` in order, at most `max_items` at a time.

    `send` answers one reply for each item, in order. An item that was submitted is sent even if the
    coroutine that waits for its reply is cancelled.
    """

    def __init__(
        self, send: Callable[[Sequence[Item]], Awaitable[Sequence[Reply]]], *, max_items: int
    ) -> None:
        self._send = send
        self._max_items = max_items
        self._waiting: deque[tuple[Item, asyncio.Future[Reply]]] = deque()
        self._wake = asyncio.Event()

    async def submit(self, item: Item) -> Reply:
        """Send one item with the next group and return its reply."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._wake.set()
        return await future

    async def run(self) -> None:
        """Send groups until cancelled. A failure of `send` reaches its callers and ends this."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._send_group()

    async def _send_group(self) -> None:
        size = min(len(self._waiting), self._max_items)
        group = [self._waiting.popleft() for _ in range(size)]
        try:
            replies = await self._send([item for item, _ in group])
        except Exception as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(error)
            raise
        for (_, future), reply in zip(group, replies, strict=True):
            if not future.done():
                future.set_result(reply)
