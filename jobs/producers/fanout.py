"""From a producer into the queue: chunk by chunk, resumable, no faster than the queue takes it.

Owns: the position in the fan-out, waiting for a full queue, going back if a queue lost its latest
chunks, signs of life while nothing can be sent. Must not know: Redis, files.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from jobs.errors import InputChangedError
from jobs.producers.windows import Item
from jobs.queue import BatchStatus, EnqueueReply

__all__ = [
    "FanoutReport",
    "FanoutSettings",
    "Intake",
    "Producer",
    "fan_out",
    "keep_fanned_out",
]

_log = logging.getLogger(__name__)


class Intake(Protocol):
    """What the fan-out needs of the queue."""

    async def status(self, batch_id: str) -> BatchStatus | None: ...

    async def enqueue(
        self, batch_id: str, position: int, items: Sequence[Item], *, is_final: bool
    ) -> EnqueueReply: ...


class Producer(Protocol):
    """Anything that can give the same items again and again in the same order."""

    def chunks(self) -> Iterator[list[Item]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FanoutSettings:
    """How long to wait before a full queue is asked again: doubling from first to longest; how
    often to make sure that the queue still has what it took; and how long to be silent at most
    while the producer reads: a batch that is over does not wait for a silent one.
    """

    first_wait_s: float = 0.02
    longest_wait_s: float = 1.0
    look_every_s: float = 2.0
    longest_silence_s: float = 10.0


@dataclass(frozen=True, slots=True)
class FanoutReport:
    """`position` items are in the queue. `refused_in_state` is set if the batch took no more
    before the end ("" if the queue does not know it).
    """

    position: int
    refused_in_state: str | None = None


class _Refused(Exception):  # noqa: N818  a signal inside this file, not an error
    def __init__(self, state: str) -> None:
        super().__init__(state)
        self.state = state


class _CursorWentBack(Exception):  # noqa: N818
    """The queue lost its latest chunks (its server was rolled back)."""


async def fan_out(
    queue: Intake,
    batch_id: str,
    producer: Producer,
    *,
    settings: FanoutSettings | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> FanoutReport:
    """Enqueue what `producer` yields, from where the queue stands, and tell it the total.

    `on_progress` hears the position after each chunk. A full queue is waited for. A batch that was
    cut short gets the lines that it lacks. Safe to cancel and to call again at any time. Raises
    InputError; InputChangedError (the total is not told then), also if the queue holds more items
    than there are.
    """
    status = await queue.status(batch_id)
    if status is None:
        return FanoutReport(0, "")
    if status.total is not None and not status.is_cut_short:
        return FanoutReport(status.num_enqueued)
    fanout = _Fanout(queue, batch_id, settings or FanoutSettings(), on_progress)
    fanout.position = status.num_enqueued
    while True:
        try:
            await fanout.send_all(producer)
            return FanoutReport(fanout.position)
        except _Refused as refusal:
            return FanoutReport(fanout.position, refusal.state)
        except _CursorWentBack:
            continue


async def keep_fanned_out(
    queue: Intake,
    batch_id: str,
    producer: Producer,
    *,
    settings: FanoutSettings | None = None,
    on_progress: Callable[[int], None] | None = None,
    on_complete: Callable[[int], None] | None = None,
) -> FanoutReport:
    """Fan out, and go on where the queue stands whenever it forgets what it took (its server came
    back without its latest writes, or empty and the batch was announced again), until cancelled.

    `on_complete` hears the number of items each time that all are in the queue. Returns only if
    the batch takes no more items. Raises what `fan_out` raises.
    """
    settings = settings or FanoutSettings()
    while True:
        report = await fan_out(
            queue, batch_id, producer, settings=settings, on_progress=on_progress
        )
        if report.refused_in_state:
            return report
        if report.refused_in_state is None and on_complete is not None:
            on_complete(report.position)
        await _wait_until_forgotten(queue, batch_id, report.position, settings.look_every_s)


async def _wait_until_forgotten(
    queue: Intake, batch_id: str, position: int, look_every_s: float
) -> None:
    while True:
        status = await queue.status(batch_id)
        if status is not None and status.total is None:
            break
        await asyncio.sleep(look_every_s)
    _log.warning(
        "the queue forgot lines of batch %s (it has %d of %d): they are sent again",
        batch_id,
        status.num_enqueued,
        position,
    )


class _Fanout:
    """One batch's fan-out. `position` is the queue's word for how many items it has."""

    def __init__(
        self,
        queue: Intake,
        batch_id: str,
        settings: FanoutSettings,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self.position = 0
        self._queue = queue
        self._batch_id = batch_id
        self._settings = settings
        self._on_progress = on_progress
        self._wait_s = settings.first_wait_s
        self._heard_s = monotonic()

    async def send_all(self, producer: Producer) -> None:
        await self._send_some([], is_final=False)  # the producer is there, whatever it has to read
        chunks = producer.chunks()
        start = 0
        while (chunk := await self._read(chunks)) is not None:
            await self._send(chunk, start)
            start += len(chunk)
        if self.position > start:
            raise InputChangedError(
                f"batch {self._batch_id} has {self.position} lines in the queue, but its input has "
                f"only {start}; it is not the same input"
            )
        await self._send_some([], is_final=True)
        if self.position != start:
            raise _CursorWentBack

    async def _read(self, chunks: Iterator[list[Item]]) -> list[Item] | None:
        """The next chunk. Reading a window takes a second or so of pure Python: a thread keeps the
        loop responsive. Finding the place in a long input again takes many windows.
        """
        reading = asyncio.ensure_future(asyncio.to_thread(next, chunks, None))
        try:
            while not reading.done():
                silence_s = monotonic() - self._heard_s
                patience_s = max(self._settings.longest_silence_s - silence_s, 0)
                done, _ = await asyncio.wait([reading], timeout=patience_s)
                if not done:
                    await self._send_some([], is_final=False)
            return reading.result()
        finally:
            reading.cancel()

    async def _send(self, chunk: list[Item], start: int) -> None:
        """Send what the queue does not have yet of `chunk`, which begins at position `start`."""
        size = len(chunk)
        while self.position < start + len(chunk):
            if self.position < start:
                raise _CursorWentBack
            first = self.position - start
            if await self._send_some(chunk[first : first + size], is_final=False):
                self._wait_s = self._settings.first_wait_s
                if self._on_progress is not None:
                    self._on_progress(self.position)
                continue
            await asyncio.sleep(self._wait_s)
            if self._wait_s >= self._settings.longest_wait_s:
                size = max(size // 2, 1)  # the queue may be smaller than a chunk
            self._wait_s = min(self._wait_s * 2, self._settings.longest_wait_s)

    async def _send_some(self, items: Sequence[Item], *, is_final: bool) -> bool:
        """Send once; False if the queue is full."""
        reply = await self._queue.enqueue(self._batch_id, self.position, items, is_final=is_final)
        if reply.state is not None:
            raise _Refused(reply.state)
        self._heard_s = monotonic()
        self.position = reply.position
        return not reply.is_full
