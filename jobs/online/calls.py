"""A client's request from its submission to its row.

Owns: the order of these steps, how long to wait for what, and that a client that goes away ends its
job. Must not know: HTTP, what an answer looks like.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import TypeAlias

from redis.exceptions import RedisError

from jobs.errors import JobsError
from jobs.keys import Keys
from jobs.online.jobs import (
    NewRequest,
    OnlineJobs,
    Refusal,
    TenantLimits,
    Waiting,
    new_ticket,
)
from jobs.online.listener import TokenListener
from jobs.online.messages import Accepted, Done, Step, decode_message
from schemas.result import ResultRow

__all__ = ["Event", "Failure", "OnlineCall", "OnlineCalls", "OnlineSettings"]

_log = logging.getLogger(__name__)

_HANG_UP_S = 5.0
_MAX_LOST_LOOKS = 2
_LIMITS = TenantLimits(max_requests=1000, max_tokens=10_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineSettings:
    """Seconds that a request waits for a worker, and for its answer in all; seconds of silence
    after which the queue is looked at; what one tenant may have at once.
    """

    start_timeout_s: float = 60.0
    request_timeout_s: float = 600.0
    look_every_s: float = 5.0
    limits: TenantLimits = _LIMITS


class Failure(StrEnum):
    """Why there is no row: nobody took the job, it took too long, or the queue lost it."""

    NOT_STARTED = "not_started"
    TOO_LONG = "too_long"
    LOST = "lost"


Event: TypeAlias = Accepted | Step | ResultRow | Failure | None
"""None: nothing new for a while. A row or a failure is the last event."""


class OnlineCalls:
    """All waiting clients of one process."""

    def __init__(
        self, jobs: OnlineJobs, listener: TokenListener, keys: Keys, settings: OnlineSettings
    ) -> None:
        self.settings = settings
        self.jobs = jobs
        self._listener = listener
        self._keys = keys

    @asynccontextmanager
    async def open(
        self, tenant: str, request: NewRequest, limits: TenantLimits | None = None
    ) -> AsyncIterator["OnlineCall | Refusal"]:
        """The request in the queue while the block runs; a block that is left before the last
        event, by whatever way, cancels the job. `limits` go before those of the settings.

        Raises JobsError, redis' errors and TimeoutError if the queue cannot be reached.
        """
        ticket = new_ticket(tenant)
        channel = self._keys.tokens(ticket.batch_id, ticket.idx)
        async with self._listener.listening(channel) as messages:
            waiting = await self.jobs.submit(ticket, request, limits or self.settings.limits)
            if isinstance(waiting, Refusal):
                yield waiting
                return
            call = OnlineCall(self.jobs, waiting, messages, self.settings)
            try:
                yield call
            finally:
                if not call.is_over:
                    await asyncio.shield(self._hang_up(waiting))

    async def _hang_up(self, waiting: Waiting) -> None:
        try:
            async with asyncio.timeout(_HANG_UP_S):
                await self.jobs.hang_up(waiting)
        except (RedisError, JobsError, OSError, TimeoutError) as error:
            _log.debug("a job whose client hung up runs to its end: %s", error)


class OnlineCall:
    """One request in the queue."""

    def __init__(
        self,
        jobs: OnlineJobs,
        waiting: Waiting,
        messages: "asyncio.Queue[bytes]",
        settings: OnlineSettings,
    ) -> None:
        self.is_over = False
        self._jobs = jobs
        self._waiting = waiting
        self._messages = messages
        self._settings = settings
        self._started_s = monotonic()
        self._has_worker = False
        self._num_lost = 0

    async def events(self) -> AsyncIterator[Event]:
        """What happens to the request, to its end."""
        while not self.is_over:
            event = await self._next()
            self.is_over = isinstance(event, ResultRow) or event is Failure.LOST
            yield event
            if isinstance(event, Failure):
                return

    async def _next(self) -> Event:
        deadline_s, failure = self._deadline()
        left_s = deadline_s - monotonic()
        if left_s <= 0:
            return failure
        try:
            async with asyncio.timeout(min(left_s, self._settings.look_every_s)):
                data = await self._messages.get()
        except TimeoutError:
            return await self._look()
        message = decode_message(data)
        if isinstance(message, Done):
            row = await self._jobs.read(self._waiting, message.entry_id)
            return row if row is not None else await self._look()
        self._has_worker = True
        return message

    async def _look(self) -> Event:
        """Nothing was heard: perhaps because messages are lost."""
        found = await self._jobs.look(self._waiting)
        if isinstance(found, ResultRow):
            return found
        self._num_lost = self._num_lost + 1 if found == "lost" else 0
        return Failure.LOST if self._num_lost >= _MAX_LOST_LOOKS else None

    def _deadline(self) -> tuple[float, Failure]:
        """Until when the request may go on as it is (monotonic seconds), and what ends it then."""
        settings = self._settings
        answer_s = self._started_s + settings.request_timeout_s
        start_s = self._started_s + settings.start_timeout_s
        if self._has_worker or answer_s <= start_s:
            return answer_s, Failure.TOO_LONG
        return start_s, Failure.NOT_STARTED
