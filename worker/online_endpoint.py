"""The endpoint's side of requests that clients wait for, put together.

Owns: how its parts are made, and the task that listens. Must not know: HTTP.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jobs.online.calls import OnlineCalls, OnlineSettings
from jobs.online.jobs import OnlineJobs
from jobs.online.listener import TokenListener
from jobs.retrying import Retrying
from worker.connection import Connection

__all__ = ["open_online"]


@asynccontextmanager
async def open_online(
    connection: Connection, settings: OnlineSettings, retrying: Retrying
) -> AsyncIterator[OnlineCalls]:
    """Listen for waiting clients while the block runs."""
    redis, keys = connection.redis, connection.keys
    listener = TokenListener(redis, keys)
    listening = asyncio.create_task(listener.run())
    jobs = OnlineJobs(redis, keys, connection.settings, retrying=retrying)
    try:
        yield OnlineCalls(jobs, listener, keys, settings)
    finally:
        listening.cancel()
        await asyncio.wait([listening])
