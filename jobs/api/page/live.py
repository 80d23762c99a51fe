"""The page's stream of changes.

Owns: when a part of the page is sent again. Must not know: what the parts say. It ends when the
client leaves, its key is revoked, or the server stops (the browser then comes back by itself).
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic

from fastapi import Response
from redis.exceptions import RedisError
from starlette.types import Receive, Scope, Send

from jobs.api.leaving import while_client_stays
from jobs.errors import JobsError

__all__ = ["LiveParts"]

_log = logging.getLogger(__name__)

_EVERY_S = 1.0
_PING_S = 15.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

Look = Callable[[], Awaitable[Mapping[str, str] | None]]
"""The parts as they are now; None once the caller may not look any more."""


class LiveParts(Response):
    """Sends the parts that have changed, once a second."""

    def __init__(self, look: Look, is_stopping: Callable[[], bool]) -> None:
        super().__init__()
        self._look = look
        self._is_stopping = is_stopping
        self._shown: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await while_client_stays(receive, self._send_changes(send))

    async def _send_changes(self, send: Send) -> None:
        await _send(send, "retry: 2000\n\n")
        said_s = monotonic()
        while not self._is_stopping():
            text = await self._changes()
            if text is None:
                await _send(send, "event: signed-out\ndata: -\n\n")
                break
            if text or monotonic() - said_s >= _PING_S:
                await _send(send, text or ": ping\n\n")
                said_s = monotonic()
            await asyncio.sleep(_EVERY_S)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _changes(self) -> str | None:
        """An event with the parts that have changed, "" for none. While the store is away nothing
        changes.
        """
        try:
            parts = await self._look()
        except (RedisError, JobsError, OSError) as error:
            _log.debug("the page is not refreshed: %s", error)
            return ""
        if parts is None:
            return None
        new = {name: text for name, text in parts.items() if self._shown.get(name) != text}
        self._shown |= new
        return f"event: parts\ndata: {json.dumps(new)}\n\n" if new else ""


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
